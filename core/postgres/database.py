"""Access to PostgreSQL: one engine per process, one transaction per `begin()`."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from psycopg2.errors import UndefinedColumn, UndefinedTable
from sqlalchemy import Engine, Select, create_engine, event, func, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session, sessionmaker

from core import outages
from core.config import Settings

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
    """Let the transaction be idle for `seconds` instead of the role's default."""
    name = "idle_in_transaction_session_timeout"
    db.execute(select(func.set_config(name, f"{round(seconds)}s", True)))


def lacks_tables(error: Exception) -> bool:
    """Whether the cause is a schema that is missing or older than the code."""
    return isinstance(error, ProgrammingError) and isinstance(
        error.orig, UndefinedTable | UndefinedColumn
    )
