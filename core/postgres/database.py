"""Access to PostgreSQL: one engine per process, one transaction per `begin()`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from alembic import command
from alembic.util import CommandError
from psycopg2.errors import UndefinedColumn, UndefinedTable
from sqlalchemy import Connection, Engine, Select, create_engine, event, func, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session, sessionmaker

from core import outages
from core.config import Settings
from core.postgres.keys import Twin, fill_keys
from core.postgres.ownership import check_ownership
from core.postgres.schema import State, alembic_config, state_of

Database = sessionmaker[Session]
T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 5
POOL_TIMEOUT_SECONDS = 5

# A host that vanishes does not close its connections. By default the system notices after two
# hours on an idle connection, after 15 minutes on one with unsent data; with these settings
# after 10 + 3 x 5 seconds on both. A slow host is not affected: its kernel answers the probes.
VANISHED_SERVER: Mapping[str, int] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
# The reverse: locks of a vanished client are released after a minute. The first setting ends
# a transaction that waits for its client's next statement, the others one that sends to the
# client or waits for the rest of a COPY. Our transactions are idle for at most a few Redis
# time-outs; longer ones call `allow_silence`. `tcp_user_timeout` is no shorter, because it
# also disconnects a live client that reads nothing for that long.
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


def page_of(
    db: Session, chosen: Select[T], *, page: int, page_size: int
) -> tuple[Sequence[T], int]:
    """One page of what is chosen, and how much of it there is in all."""
    total = db.scalar(select(func.count()).select_from(chosen.order_by(None).subquery())) or 0
    return db.scalars(chosen.offset((page - 1) * page_size).limit(page_size)).all(), total


def create_database_engine(settings: Settings) -> Engine:
    """A pooled engine that tests connections before use."""
    engine = create_engine(
        settings.database_url,
        pool_size=settings.postgres_pool_size,
        max_overflow=settings.postgres_pool_size,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_pre_ping=True,
        # Errors are logged; parameters may be e-mail addresses or password hashes.
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS, **VANISHED_SERVER},
    )
    event.listen(engine, "handle_error", _recognise_outage)
    return engine


def _recognise_outage(context: ExceptionContext) -> None:
    """Raise an outage that the driver classifies as an internal error as one."""
    error = context.original_exception
    if isinstance(error, outages.UNABLE):
        raise OperationalError(context.statement, None, error, hide_parameters=True) from error


def create_database(engine: Engine) -> Database:
    """`with database.begin() as db:` is one transaction, committed at its end."""
    return sessionmaker(engine, expire_on_commit=False)


def allow_silence(db: Session, *, seconds: float) -> None:
    """Let the transaction be idle for `seconds` instead of VANISHED_CLIENT's limit."""
    name = "idle_in_transaction_session_timeout"
    db.execute(select(func.set_config(name, f"{round(seconds)}s", True)))


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


def lacks_tables(error: Exception) -> bool:
    """Whether the cause is a schema that is missing or older than the code."""
    return isinstance(error, ProgrammingError) and isinstance(
        error.orig, UndefinedTable | UndefinedColumn
    )
