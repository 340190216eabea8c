"""Health of PostgreSQL and Redis, and this process's readiness for bids."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from core import outages
from core.bidding.placing import Bidding
from core.bidlog.backlog import BacklogGuard
from core.errors import Unconfirmed
from core.redis import keys
from core.redis.cluster import ClusterClient

OK = "ok"
UNREACHABLE = "unreachable"
UNKNOWN = "unknown"
REFUSING = "refusing"
NEAR_BOUND = "near_bound"
_PROBE_TTL_MS = 1000
_NO_SESSION = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Health:
    """Each server is "ok" or "unreachable"; never an address or a reason.

    `persist_backlog` is a core.bidlog.backlog.Level, or "unknown" without Redis.
    """

    database: str
    redis: str
    persist_backlog: str

    @property
    def status(self) -> str:
        """Return "healthy" if both servers answer, else "degraded"."""
        return "healthy" if self.is_healthy else "degraded"

    @property
    def is_healthy(self) -> bool:
        """Whether both servers answer."""
        return self.database == OK and self.redis == OK


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether bids are accepted: Redis can write, run the script and store them.

    PostgreSQL is not checked: during its outage bids wait in Redis, up to their bound.
    """

    redis: str
    backlog: str

    @property
    def status(self) -> str:
        """Return "ready" if a load balancer should send bids here, else "not_ready"."""
        return "ready" if self.is_ready else "not_ready"

    @property
    def is_ready(self) -> bool:
        """Whether a bid would be accepted."""
        return self.redis == OK and self.backlog == OK


def check_readiness(redis: Redis, bidding: Bidding, backlog: BacklogGuard) -> Readiness:
    """Write to Redis, run the script, measure the backlog."""
    try:
        _require_writes(redis, bidding)
        is_near_bound = backlog.measure().is_near_bound
    except (ResponseError, Unconfirmed):
        return Readiness(redis=REFUSING, backlog=OK)
    except outages.REDIS:
        return Readiness(redis=UNREACHABLE, backlog=OK)
    return Readiness(redis=OK, backlog=NEAR_BOUND if is_near_bound else OK)


def _require_writes(redis: Redis, bidding: Bidding) -> None:
    """On a cluster one working master is enough: an outage of another affects all web
    processes alike. Raises the last probe's error.
    """
    *others, last = _probe_ids(redis)
    for probe_id in others:
        with suppress(Unconfirmed, *outages.REDIS):
            _probe(redis, bidding, probe_id)
            return
    _probe(redis, bidding, last)


def _probe_ids(redis: Redis) -> Iterable[UUID]:
    """For each server, an id of no session whose keys would be there."""
    return redis.id_on_each_master() if isinstance(redis, ClusterClient) else [_NO_SESSION]


def _probe(redis: Redis, bidding: Bidding, probe_id: UUID) -> None:
    redis.set(keys.write_probe(probe_id), 1, px=_PROBE_TTL_MS)
    bidding.probe(probe_id)


def check(engine: Engine, redis: Redis, backlog: BacklogGuard) -> Health:
    """Check both servers."""
    found = _check_redis(redis)
    return Health(
        database=_check_database(engine),
        redis=found,
        # Skipped during an outage: it would cost another time-out.
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
    except outages.REDIS:
        return UNREACHABLE
    return OK


def _check_backlog(backlog: BacklogGuard) -> str:
    try:
        return backlog.measure().level
    except outages.REDIS:
        return UNKNOWN
