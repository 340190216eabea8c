"""Bounds the bids that wait in Redis to be persisted, before they take all its memory.

While PostgreSQL is away the bid logs grow. Were Redis left to run full, it would refuse
every write: loads, logouts, the broker's jobs. So bids are refused first, at a bound that
leaves Redis room, and taken again as soon as the drain has made some. Each process looks
for itself, once a second and only while bids come in: one that relied on a worker's word
would rely on PostgreSQL's, for the workers wait for it.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import structlog
from redis import Redis
from redis import exceptions as redis_errors

from core import errors, outages
from core.redis import keys
from core.redis.cluster import NO_MASTER, ClusterClient
from core.runtime import Background

log = structlog.get_logger(__name__)

# What a bid takes at most, that of a member who is new to the session: an entry of the log,
# and the bidder's place. core/operations/capacity.py has what each was measured to take; this
# is above it.
BID_BYTES = 700
# From this share of the bound on, a balancer should send bids elsewhere.
NEAR_BOUND_SHARE = 0.9
# Above this share of Redis's maxmemory no bid is taken.
MEMORY_SHARE = 0.9
LOOK_INTERVAL_SECONDS = 1.0


class Level(StrEnum):
    """How full the backlog is."""

    OK = "ok"
    HALF_FULL = "half_full"
    FULL = "full"


# What is logged, and how loudly, when a level is reached.
EVENTS = {
    Level.OK: (logging.INFO, "persist_backlog_ok"),
    Level.HALF_FULL: (logging.WARNING, "persist_backlog_half_full"),
    Level.FULL: (logging.ERROR, "persist_backlog_full"),
}


@dataclass(frozen=True, slots=True)
class Backlog:
    """Bids that wait to be persisted, of all sessions, and how many may."""

    bids: int
    max_bids: int

    @property
    def level(self) -> Level:
        """How full it is."""
        if self.bids >= self.max_bids:
            return Level.FULL
        return Level.HALF_FULL if self.bids * 2 >= self.max_bids else Level.OK

    @property
    def is_near_bound(self) -> bool:
        """Whether bids will be refused soon, or are."""
        return self.bids >= NEAR_BOUND_SHARE * self.max_bids


@dataclass(frozen=True, slots=True)
class Share:
    """What one server holds of the backlog. `room`: how many bids more; None: any number."""

    bids: int
    room: int | None


def room_in(memory: Mapping[str, Any]) -> int | None:
    """How many bids more a server has room for, by INFO's section on memory."""
    if not memory["maxmemory"]:
        return None
    return int((memory["maxmemory"] * MEMORY_SHARE - memory["used_memory"]) // BID_BYTES)


class BacklogGuard:
    """Refuses bids while the backlog is full."""

    def __init__(self, redis: Redis, *, max_bids: int) -> None:
        self._redis = redis
        self._max_bids = max_bids
        self._level = Level.OK
        self._look_at = 0.0

    def require_room(self, background: Background) -> None:
        """Raise BacklogFull when no bid may be taken; what is known may be a second old.

        The bid that looks need not wait for it: a node of a cluster that hangs would hold it up.
        """
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_INTERVAL_SECONDS
            background.leave(self._look)
        if self._level is Level.FULL:
            raise errors.BacklogFull

    def _look(self) -> None:
        # Each bid finds an outage for itself.
        with suppress(*outages.REDIS):
            self._note(self.measure())

    def measure(self) -> Backlog:
        """Ask Redis. Memory bounds the backlog only where Redis has a maxmemory."""
        shares = self._shares()
        bids = sum(share.bids for share in shares)
        rooms = [bids + share.room for share in shares if share.room is not None]
        return Backlog(bids, max(0, min([self._max_bids, *rooms])))

    def _shares(self) -> list[Share]:
        """What each server holds."""
        session_ids: Any = self._redis.smembers(keys.LOADED_SESSIONS)
        return [Share(self._count(session_ids), room_in(self._redis.info("memory")))]

    def _count(self, session_ids: Iterable[str]) -> int:
        """Bids that wait in these sessions' logs."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for session_id in session_ids:
                pipeline.xlen(keys.bid_log(session_id))
            lengths: list[Any] = pipeline.execute()
        return sum(lengths)

    def _note(self, found: Backlog) -> None:
        if found.level is not self._level:
            loudness, event = EVENTS[found.level]
            log.log(loudness, event, bids=found.bids, max_bids=found.max_bids)
        self._level = found.level


class ClusterBacklogGuard(BacklogGuard):
    """The fullest master bounds the backlog of all: whose sessions come next is not known.

    A master that is away is left out: its sessions take no bids, and must not stop others'.
    """

    def __init__(self, redis: Redis, *, max_bids: int) -> None:
        super().__init__(redis, max_bids=max_bids)
        self._cluster = cast(ClusterClient, redis)
        self._session_ids: Any = ()

    def _shares(self) -> list[Share]:
        """What each master holds that answers. Raises what redis-py raises when none does."""
        # The set lies on one of them. Without it, those last known are counted.
        with suppress(*outages.REDIS):
            self._session_ids = self._redis.smembers(keys.LOADED_SESSIONS)
        sessions_of: dict[tuple[str, int], list[str]] = defaultdict(list)
        for session_id in self._session_ids:
            with suppress(redis_errors.SlotNotCoveredError):
                sessions_of[self._cluster.master_of(keys.bid_log(session_id))].append(session_id)
        shares = []
        for node in self._cluster.masters():
            with suppress(*outages.REDIS):
                memory = self._redis.info("memory", target_nodes=node)
                bids = self._count(sessions_of[node.host, node.port])
                shares.append(Share(bids, room_in(memory)))
        if not shares:
            raise redis_errors.ConnectionError(NO_MASTER)
        return shares
