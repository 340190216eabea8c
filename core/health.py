"""Whether the servers behind everything answer, and whether this process should be sent bids."""

from dataclasses import dataclass

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from core import keys
from core.backlog import BacklogGuard
from core.bidding import Bidding
from core.errors import REDIS_OUTAGES

OK = "ok"
UNREACHABLE = "unreachable"
UNKNOWN = "unknown"
REFUSING = "refusing"
NEAR_BOUND = "near_bound"
_PROBE_TTL_MS = 1000


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


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether bids are taken: Redis writes and runs the script, and has room for them.

    PostgreSQL is not asked. While it is away bids wait in Redis, until that is near its bound.
    """

    redis: str
    backlog: str

    @property
    def status(self) -> str:
        """Say "ready" when a balancer should send bids here."""
        return "ready" if self.is_ready else "not_ready"

    @property
    def is_ready(self) -> bool:
        """Whether a bid would be taken."""
        return self.redis == OK and self.backlog == OK


def check_readiness(redis: Redis, bidding: Bidding, backlog: BacklogGuard) -> Readiness:
    """Write to Redis, call the script, look at the room that is left."""
    try:
        redis.set(keys.WRITE_PROBE, 1, px=_PROBE_TTL_MS)
        bidding.probe()
        is_near_bound = backlog.measure().is_near_bound
    except ResponseError:
        return Readiness(redis=REFUSING, backlog=OK)
    except REDIS_OUTAGES:
        return Readiness(redis=UNREACHABLE, backlog=OK)
    return Readiness(redis=OK, backlog=NEAR_BOUND if is_near_bound else OK)


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
    except REDIS_OUTAGES:
        return UNREACHABLE
    return OK


def _check_backlog(backlog: BacklogGuard) -> str:
    try:
        return backlog.measure().level
    except REDIS_OUTAGES:
        return UNKNOWN
