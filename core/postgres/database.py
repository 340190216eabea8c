"""The way to PostgreSQL: one engine a process, one transaction a `begin()`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from psycopg2.errors import UndefinedColumn, UndefinedTable
from sqlalchemy import Connection, Engine, Select, create_engine, func, select
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session, sessionmaker

from core.config import Settings

Database = sessionmaker[Session]
T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 5
POOL_TIMEOUT_SECONDS = 5

# A host that vanishes says no goodbye. Left to itself the system misses it after two hours
# where the connection is silent, after a quarter of one where something was sent; we after
# 10 + 3 x 5 seconds either way. A host that is only slow answers all the same, for it is
# its kernel that does.
VANISHED_SERVER: Mapping[str, int] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
# The same in the other direction: what a vanished client of ours had locked is free again
# after a minute. The first ends a transaction that waits for its client's next statement,
# the others one that sends to it, or waits for the rest of a COPY. A minute is longer than
# any of ours is silent, which is at most for some of Redis's time-outs, and those that may
# be silent for longer say so by `allow_silence`. `tcp_user_timeout` is no shorter, because
# it also ends the connection of a client that is there, but reads nothing for so long.
VANISHED_CLIENT: Mapping[str, str] = {
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "20s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60s",
}
_MIGRATIONS = Path(__file__).parent / "migrations"


class UnknownSchema(Exception):
    """The schema is of a version that this code has no migrations for."""


def page_of(
    db: Session, chosen: Select[T], *, page: int, page_size: int
) -> tuple[Sequence[T], int]:
    """One page of what is chosen, and how much of it there is in all."""
    total = db.scalar(select(func.count()).select_from(chosen.order_by(None).subquery())) or 0
    return db.scalars(chosen.offset((page - 1) * page_size).limit(page_size)).all(), total


def create_database_engine(settings: Settings) -> Engine:
    """A pooled engine that notices dead connections before it hands them out."""
    return create_engine(
        settings.database_url,
        pool_size=settings.postgres_pool_size,
        max_overflow=settings.postgres_pool_size,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_pre_ping=True,
        # Errors are logged, and values may be e-mail addresses or hashes of passwords.
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS, **VANISHED_SERVER},
    )


def create_database(engine: Engine) -> Database:
    """`with database.begin() as db:` is one transaction, committed at its end."""
    return sessionmaker(engine, expire_on_commit=False)


def allow_silence(db: Session, *, seconds: float) -> None:
    """Let the transaction be idle for so long; otherwise VANISHED_CLIENT says how long."""
    name = "idle_in_transaction_session_timeout"
    db.execute(select(func.set_config(name, f"{round(seconds)}s", True)))


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest migration. Safe to run twice at once.

    Raises UnknownSchema when a newer version has been here.
    """
    with engine.begin() as connection:
        try:
            command.upgrade(alembic_config(connection), "head")
        except CommandError as error:
            raise UnknownSchema(str(error)) from error
        # Here the migrations' lock is still held. It is no migration, since a database that
        # was restored from a dump has all migrations, but not its roles' settings.
        set_session_defaults(connection, VANISHED_CLIENT)


def set_session_defaults(connection: Connection, defaults: Mapping[str, str]) -> None:
    """Give these settings to every connection that this role makes to this database from now on.

    Kept by the server, they cost nothing and hold behind a pooler as well, which gives its
    own connections on from client to client: a SET would outlive its transaction there,
    startup options are refused, and SET LOCAL would be one more round trip for each
    transaction, and still without effect on TCP. A role may do this for itself. The same
    role's other databases are not touched.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    database = quote(connection.scalars(select(func.current_database())).one())
    for name, value in defaults.items():
        connection.exec_driver_sql(
            f"ALTER ROLE SESSION_USER IN DATABASE {database} SET {name} = '{value}'"
        )


def lacks_tables(error: Exception) -> bool:
    """Whether this was raised because the schema is older than the code, or none at all."""
    return isinstance(error, ProgrammingError) and isinstance(
        error.orig, UndefinedTable | UndefinedColumn
    )


def alembic_config(connection: object) -> Config:
    """Alembic's configuration over an open connection."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config
