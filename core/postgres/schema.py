"""The schema's version, compared with this code's migrations, and whether it can be written to."""

from enum import StrEnum
from functools import cache

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from core.config import PROJECT_ROOT
from core.postgres.models import Base

_MIGRATIONS = PROJECT_ROOT / "core" / "postgres" / "migrations"
# True on a standby, in recovery, and where an operator has switched writes off.
_READ_ONLY = text("SELECT current_setting('transaction_read_only')::boolean")

_COLUMNS = text(
    "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE table_schema = current_schema()"
)


class State(StrEnum):
    """A database's schema as this code sees it."""

    MISSING = "missing"
    OUTDATED = "outdated"
    CURRENT = "current"
    # A later version has upgraded it, and everything that this code uses is still there.
    NEWER = "newer"
    # At a version that this code does not know, and without something that it uses.
    UNKNOWN = "unknown"


def state_of(connection: Connection) -> State:
    """The schema's state."""
    found = set(MigrationContext.configure(connection).get_current_heads())
    if not found:
        return State.MISSING
    if not found <= _revisions():
        return State.UNKNOWN if _missing_columns(connection) else State.NEWER
    return State.CURRENT if found == set(_scripts().get_heads()) else State.OUTDATED


def is_read_only(connection: Connection) -> bool:
    """Whether PostgreSQL refuses every write of this connection."""
    return bool(connection.scalar(_READ_ONLY))


def alembic_config(connection: object) -> Config:
    """Alembic's configuration over an open connection."""
    config = Config()
    # A configuration file: % would begin a reference to another option.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _missing_columns(connection: Connection) -> set[tuple[str, str]]:
    """Table and name of each column that this code uses and the database lacks."""
    there = {(row.table_name, row.column_name) for row in connection.execute(_COLUMNS)}
    used = {
        (table.name, column.name) for table in Base.metadata.tables.values() for column in table.c
    }
    return used - there


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(alembic_config(None))


@cache
def _revisions() -> frozenset[str]:
    return frozenset(script.revision for script in _scripts().walk_revisions())
