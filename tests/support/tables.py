"""Empties the tables between two tests."""

from sqlalchemy import Connection, text

from core.postgres.models import Base

# The one that a trigger fills on deletions comes last of all.
_TABLES = [
    *(table.name for table in reversed(Base.metadata.sorted_tables)),
    "deleted_accounts",
]
_NAMES = ", ".join(dict.fromkeys(_TABLES))
_SIZE = """
    SELECT sum(pg_relation_size(oid)) FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
_LARGE_BYTES = 1_000_000
# It waits for transactions under way, as TRUNCATE does.
_DELETE = "; ".join(
    [f"LOCK TABLE {_NAMES} IN EXCLUSIVE MODE", *(f"DELETE FROM {name}" for name in _TABLES)]  # noqa: S608 - our own
)


def empty_tables(connection: Connection) -> None:
    """TRUNCATE makes new files for each table and index, thirty times the work of deleting some
    rows. It is for many rows, and for the space of those deleted before.
    """
    is_large = connection.scalar(text(_SIZE)) > _LARGE_BYTES
    connection.exec_driver_sql(f"TRUNCATE {_NAMES}" if is_large else _DELETE)
