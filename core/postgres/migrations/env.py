"""Alembic's entry: runs the migrations on the connection it is given."""

from alembic import context
from sqlalchemy import Connection, create_engine, text

from core.config import load_settings
from core.postgres.models import Base

# Any constant will do; two release commands at once must take turns.
MIGRATION_LOCK = 4_275_001


def run(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    # Called by the `alembic` command itself, to write a new migration.
    with create_engine(load_settings().database_url).begin() as own:
        run(own)
