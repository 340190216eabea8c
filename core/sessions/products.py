"""The shop's products."""

from sqlalchemy import select

from core.members.idempotency import store_response
from core.postgres.database import Database
from core.postgres.models import Product
from core.rules.images import ImageHosts

__all__ = ["Catalogue", "Product"]


class Catalogue:
    """Creates and lists products."""

    def __init__(self, database: Database, image_hosts: ImageHosts) -> None:
        self._database = database
        self._image_hosts = image_hosts

    def add(self, name: str, description: str | None, image_url: str | None = None) -> Product:
        """Create a product. Raises InvalidImageUrl."""
        self._image_hosts.require(image_url)
        product = Product(name=name, description=description, image_url=image_url)
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
