"""The shop's products."""

from sqlalchemy import select

from core.members.idempotency import store_response
from core.postgres.database import Database
from core.postgres.models import Product

__all__ = ["Catalogue", "Product"]


class Catalogue:
    """Creates and lists products."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, description: str | None) -> Product:
        """Create a product."""
        product = Product(name=name, description=description)
        with self._database.begin() as db:
            db.add(product)
            db.flush()
            db.refresh(product)
            store_response(db, product)
        return product

    def products(self) -> list[Product]:
        """All products, newest first."""
        with self._database.begin() as db:
            return list(db.scalars(select(Product).order_by(Product.created_at.desc(), Product.id)))
