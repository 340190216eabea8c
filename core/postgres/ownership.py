"""Whether a database's tables are this application's."""

from sqlalchemy import Connection, text

from core.postgres.models import Base

# The first migration creates them, and no later one takes them away.
_FIRST_TABLES = {"bid_log_offsets", "bids", "products", "rankings", "sessions", "users"}
_RELATIONS = text(
    "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(current_schema())"
)
_VERSIONS = text("SELECT version_num FROM alembic_version")


class ForeignTables(Exception):
    """The database has tables of another application, where ours would be."""


def check_ownership(connection: Connection) -> None:
    """Raise ForeignTables if a migration would meet tables that none of ours created."""
    relations = set(connection.scalars(_RELATIONS))
    is_migrated = "alembic_version" in relations and bool(connection.scalars(_VERSIONS).all())
    if is_migrated and not relations >= _FIRST_TABLES:
        raise ForeignTables("alembic_version, without the tables that belong to it")
    met = sorted(relations & Base.metadata.tables.keys())
    if met and not is_migrated:
        raise ForeignTables(", ".join(met))
