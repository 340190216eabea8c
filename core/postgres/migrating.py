"""Creates and upgrades the schema. Only the commands import it: alembic would make every other
process start later.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from alembic import command
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, func, select

from core.postgres.keys import Twin, fill_keys
from core.postgres.ownership import check_ownership
from core.postgres.schema import State, alembic_config, state_of

# The reverse of VANISHED_SERVER in core/postgres/database.py: locks of a vanished client are
# released after a minute. The first setting ends a transaction that waits for its client's next
# statement, the others one that sends to the client or waits for the rest of a COPY. Our
# transactions are idle for at most a few Redis time-outs; longer ones call `allow_silence`.
# `tcp_user_timeout` is no shorter, because it also disconnects a live client that reads nothing
# for that long.
VANISHED_CLIENT: Mapping[str, str] = {
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "20s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60s",
}


class UnknownSchema(Exception):
    """The schema is at a version that this code does not know, and lacks what it uses."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """The schema's state after `migrate`: CURRENT, or NEWER if a later version has upgraded it;
    then it was left alone, and this code runs on it. `twins`: the accounts whose name or address
    is an older one's.
    """

    state: State
    twins: list[Twin]


def migrate(engine: Engine) -> Migrated:
    """Upgrade the schema to the newest migration, and fill the accounts' keys. Safe to run
    concurrently.

    Raises ForeignTables if the database is another application's, and UnknownSchema if it is at
    a version that this code does not run on.
    """
    with engine.begin() as connection:
        check_ownership(connection)
        try:
            command.upgrade(alembic_config(connection), "head")
        except CommandError as error:
            if state_of(connection) is State.NEWER:
                # Its own release has filled the keys.
                return Migrated(State.NEWER, [])
            raise UnknownSchema(str(error)) from error
        # Under the migrations' lock, but not a migration: a database restored from a dump has
        # all migrations, but not its role settings.
        set_session_defaults(connection, VANISHED_CLIENT)
    return Migrated(State.CURRENT, fill_keys(engine))


def set_session_defaults(connection: Connection, defaults: Mapping[str, str]) -> None:
    """Set these defaults for this role's future connections to this database only.

    The server stores them, so they cost nothing and work behind a pooler, which shares its
    connections between clients: there a SET would outlive its transaction, startup options
    are refused, and SET LOCAL costs a round trip per transaction without effect on TCP. A
    role may change its own defaults.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    database = quote(connection.scalars(select(func.current_database())).one())
    for name, value in defaults.items():
        connection.exec_driver_sql(
            f"ALTER ROLE SESSION_USER IN DATABASE {database} SET {name} = '{value}'"
        )
