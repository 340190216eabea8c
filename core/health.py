"""Whether the two servers behind everything answer."""

from dataclasses import dataclass

from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from core.errors import REDIS_OUTAGES

OK = "ok"
UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Health:
    """Each server is "ok" or "unreachable"; never an address or a reason."""

    database: str
    redis: str

    @property
    def status(self) -> str:
        """Say "healthy" when both servers answer."""
        return "healthy" if self.is_healthy else "degraded"

    @property
    def is_healthy(self) -> bool:
        """Whether both servers answer."""
        return self.database == OK and self.redis == OK


def check(engine: Engine, redis: Redis) -> Health:
    """Ask both servers."""
    return Health(database=_check_database(engine), redis=_check_redis(redis))


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
    except REDIS_OUTAGES:
        return UNREACHABLE
    return OK
