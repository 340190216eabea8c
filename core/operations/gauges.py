"""Gauges read from the servers at each scrape: backlog, overdue closes, reachability.

Every web process exports the same values, so across hosts take the maximum, not the sum.
Reading is bounded: at most every two seconds per process, only sessions that run or wait
for their close, and by the servers' time-outs.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any
from uuid import UUID

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis import Redis
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from core import outages
from core.bidlog.backlog import BacklogGuard
from core.notifications.endpoints import count_disabled
from core.orders.places import OfferState
from core.postgres.database import Database
from core.postgres.models import BiddingSession, Offer
from core.redis import clock, keys
from core.redis.cluster import ClusterClient

_FRESH_SECONDS = 2.0
_MAX_SESSIONS = 1000
_DUE_SOON = text("INTERVAL '60 seconds'")
_QUICKLY = text("SET LOCAL statement_timeout = '2s'")


@dataclass(frozen=True, slots=True)
class RunningSessions:
    """Sessions started but not final. `overdue_seconds`: since the earliest end."""

    ids: Sequence[UUID]
    due_soon: int
    overdue_seconds: float


@dataclass(frozen=True, slots=True)
class UndrainedBids:
    """Accepted bids not yet in PostgreSQL, and the oldest one's age."""

    bids: int
    oldest_seconds: float


class StateGauges(Collector):
    """Reads the service's state from its servers."""

    def __init__(self, database: Database, redis: Redis, backlog: BacklogGuard) -> None:
        self._database = database
        self._redis = redis
        self._backlog = backlog
        self._mutex = Lock()
        self._sessions: RunningSessions | None = None
        self._found: list[Metric] = []
        self._good_until = 0.0

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not query the servers."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The gauges, without those of an unreachable server."""
        with self._mutex:
            if time.monotonic() >= self._good_until:
                self._found = list(self._ask())
                self._good_until = time.monotonic() + _FRESH_SECONDS
            return self._found

    def _ask(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "flashbid_server_up", "Whether the server answers.", labels=["server"]
        )
        try:
            self._sessions = read_running_sessions(self._database)
            disabled, overdue = _read_counts(self._database)
        except SQLAlchemyError:
            up.add_metric(["postgresql"], 0)
        else:
            up.add_metric(["postgresql"], 1)
            yield from _session_gauges(self._sessions)
            yield GaugeMetricFamily(
                "flashbid_webhook_endpoints_disabled",
                "Endpoints that get nothing because they failed.",
                value=disabled,
            )
            yield GaugeMetricFamily(
                "flashbid_offers_overdue_seconds",
                "Since the earliest deadline of an open offer; 0 when there is none.",
                value=overdue,
            )
        try:
            # During a PostgreSQL outage, the sessions last known to run.
            waiting = read_undrained_bids(self._redis, self._sessions.ids if self._sessions else ())
            max_bids = self._backlog.measure().max_bids
            _require_every_master(self._redis)
        except outages.REDIS:
            up.add_metric(["redis"], 0)
        else:
            up.add_metric(["redis"], 1)
            yield GaugeMetricFamily(
                "flashbid_backlog_max_bids",
                "Waiting bids at which more are refused: BACKLOG_MAX_BIDS, or what fits in Redis.",
                value=max_bids,
            )
            if self._sessions is not None:
                yield from _backlog_gauges(waiting)
        yield up


def read_running_sessions(database: Database) -> RunningSessions:
    """Running sessions by PostgreSQL's clock: at most a thousand, earliest ends first."""
    now = func.clock_timestamp()
    with database.begin() as db:
        db.execute(_QUICKLY)
        rows = db.execute(
            select(
                BiddingSession.id,
                (BiddingSession.end_time <= now + _DUE_SOON).label("is_due_soon"),
                func.extract("epoch", now - BiddingSession.end_time).label("overdue"),
            )
            .where(BiddingSession.published_at.is_(None), BiddingSession.start_time <= now)
            .order_by(BiddingSession.end_time)
            .limit(_MAX_SESSIONS)
        ).all()
    return RunningSessions(
        ids=[row.id for row in rows],
        due_soon=sum(row.is_due_soon and row.overdue < 0 for row in rows),
        overdue_seconds=max([0.0, *(float(row.overdue) for row in rows)]),
    )


def _read_counts(database: Database) -> tuple[int, float]:
    """How many endpoints are disabled, and for how long open offers are overdue."""
    overdue = func.extract("epoch", func.clock_timestamp() - func.min(Offer.expires_at))
    with database.begin() as db:
        db.execute(_QUICKLY)
        seconds = db.scalar(select(overdue).where(Offer.state == OfferState.OPEN.value))
        return count_disabled(db), max(0.0, float(seconds or 0))


def _require_every_master(redis: Redis) -> None:
    """On a cluster, ping each master: one that hangs serves none of its sessions."""
    if isinstance(redis, ClusterClient):
        for node in redis.masters():
            redis.connected().ping(target_nodes=node)


def read_undrained_bids(redis: Redis, session_ids: Sequence[UUID]) -> UndrainedBids:
    """Bids waiting in these sessions' logs. Two small commands per session."""
    with redis.pipeline(transaction=False) as pipeline:
        for session_id in session_ids:
            pipeline.xlen(keys.bid_log(session_id))
            pipeline.xrange(keys.bid_log(session_id), count=1)
        replies: list[Any] = pipeline.execute()
    now_us = clock.to_microseconds(clock.now(redis))
    oldest_us = [_accepted_at_us(entries, now_us) for entries in replies[1::2]]
    return UndrainedBids(
        bids=sum(replies[::2]), oldest_seconds=max([0, *(now_us - at for at in oldest_us)]) / 1e6
    )


def _accepted_at_us(entries: list[Any], now_us: int) -> int:
    """When the log's first entry was accepted; now if there is none or it is malformed."""
    text_found = entries[0][1].get("accepted_at", "") if entries else ""
    return int(text_found) if text_found.isascii() and text_found.isdigit() else now_us


def _session_gauges(sessions: RunningSessions) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "flashbid_sessions_running", "Started, without final results.", value=len(sessions.ids)
    )
    yield GaugeMetricFamily(
        "flashbid_sessions_due_soon", "Ending in the next 60 seconds.", value=sessions.due_soon
    )
    yield GaugeMetricFamily(
        "flashbid_close_overdue_seconds",
        "Since the earliest end without final results; 0 when there is none.",
        value=sessions.overdue_seconds,
    )


def _backlog_gauges(waiting: UndrainedBids) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "flashbid_backlog_bids", "Accepted bids not yet in PostgreSQL.", value=waiting.bids
    )
    yield GaugeMetricFamily(
        "flashbid_backlog_oldest_seconds",
        "Age of the oldest accepted bid not yet in PostgreSQL; 0 when there is none.",
        value=waiting.oldest_seconds,
    )
