"""Health of PostgreSQL and Redis, which all web processes share."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core import outages
from core.bidding.placing import Bidding
from core.bidlog.backlog import BacklogGuard
from core.errors import Unconfirmed
from core.postgres import schema
from core.redis.cluster import ClusterClient

OK = "ok"
UNREACHABLE = "unreachable"
PARTLY_UNREACHABLE = "partly_unreachable"
REFUSING = "refusing"
READ_ONLY = "read_only"
SCHEMA_MISSING = "schema_missing"
SCHEMA_OUTDATED = "schema_outdated"
SCHEMA_UNKNOWN = "schema_unknown"
UNKNOWN = "unknown"
DATABASE_STATES = (
    *(OK, UNREACHABLE, READ_ONLY),
    *(SCHEMA_MISSING, SCHEMA_OUTDATED, SCHEMA_UNKNOWN),
)
REDIS_STATES = (OK, PARTLY_UNREACHABLE, REFUSING, UNREACHABLE)
_NO_ANSWER = (UNREACHABLE, PARTLY_UNREACHABLE)
_NO_SESSION = UUID(int=0)
_SCHEMA_STATES = {
    schema.State.MISSING: SCHEMA_MISSING,
    schema.State.OUTDATED: SCHEMA_OUTDATED,
    schema.State.CURRENT: OK,
    schema.State.NEWER: OK,
    schema.State.UNKNOWN: SCHEMA_UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Health:
    """Each server's state, one of DATABASE_STATES or REDIS_STATES; never an address or a reason.

    `persist_backlog` is a core.bidlog.backlog.Level, or "unknown" without Redis.
    """

    database: str
    redis: str
    persist_backlog: str

    @property
    def status(self) -> str:
        """Return "healthy" if both servers do all their work, else "degraded"."""
        return "healthy" if self.is_healthy else "degraded"

    @property
    def is_healthy(self) -> bool:
        """Whether both servers do all their work."""
        return self.database == OK and self.redis == OK


def check(engine: Engine, redis: Redis, bidding: Bidding, backlog: BacklogGuard) -> Health:
    """Check both servers: PostgreSQL's schema and every Redis master take writes."""
    found = _check_redis(redis, bidding)
    return Health(
        database=_check_database(engine),
        redis=found,
        # Skipped during an outage: it would cost another time-out.
        persist_backlog=UNKNOWN if found in _NO_ANSWER else _check_backlog(backlog),
    )


def _check_database(engine: Engine) -> str:
    try:
        with engine.connect() as connection:
            if schema.is_read_only(connection):
                return READ_ONLY
            return _SCHEMA_STATES[schema.state_of(connection)]
    except SQLAlchemyError:
        return UNREACHABLE


def _check_redis(redis: Redis, bidding: Bidding) -> str:
    """Every master writes and runs the script: one that hangs serves none of its sessions."""
    try:
        failures = bidding.probe(list(_probe_ids(redis)))
    except outages.REDIS:
        return UNREACHABLE
    found = {None if failure is None else _state_after(failure) for failure in failures}
    if found == {UNREACHABLE}:
        return UNREACHABLE
    if REFUSING in found:
        return REFUSING
    return PARTLY_UNREACHABLE if UNREACHABLE in found else OK


def _probe_ids(redis: Redis) -> Iterable[UUID]:
    """For each master, an id of no session whose keys would be there."""
    return redis.id_on_each_master() if isinstance(redis, ClusterClient) else [_NO_SESSION]


def _state_after(failure: Exception) -> str:
    """The state of a master whose probe failed. Re-raises what is no outage."""
    if isinstance(failure, ResponseError | Unconfirmed):
        return REFUSING
    if isinstance(failure, outages.REDIS):
        return UNREACHABLE
    raise failure


def _check_backlog(backlog: BacklogGuard) -> str:
    try:
        return backlog.measure().level
    except outages.REDIS:
        return UNKNOWN
