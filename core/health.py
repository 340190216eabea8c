"""Whether the two servers behind everything answer."""

from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from core.backlog import BacklogGuard

OK = "ok"
UNREACHABLE = "unreachable"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """Each server is "ok" or "unreachable"; never an address or a reason.

    `persist_backlog` is a core.backlog.Level, or "unknown" without Redis.
    """

    database: str
    redis: str
    persist_backlog: str

    @property
    def status(self) -> str:
        """Say "healthy" when both servers answer."""
        return "healthy" if self.is_healthy else "degraded"

    @property
    def is_healthy(self) -> bool:
        """Whether both servers answer."""
        return self.database == OK and self.redis == OK


def check(engine: Engine, redis: Redis, backlog: BacklogGuard) -> Health:
    """Ask both servers."""
    found = _check_redis(redis)
    return Health(
        database=_check_database(engine),
        redis=found,
        # Not asked again where it did not answer: that would cost the time-out once more.
        persist_backlog=_check_backlog(backlog) if found == OK else UNKNOWN,
    )


def _check_database(engine: Engine) -> str:
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return UNREACHABLE
    return OK


def _check_redis(redis: Redis) -> str:
    try:
        redis.ping()
    except RedisError:
        return UNREACHABLE
    return OK


def _check_backlog(backlog: BacklogGuard) -> str:
    try:
        return backlog.measure().level
    except RedisError:
        return UNKNOWN
