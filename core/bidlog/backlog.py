"""Bounds the bids in Redis that wait to be persisted, before they exhaust its memory.

During a PostgreSQL outage the bid logs grow. A full Redis would refuse every write: session
loads, logouts, the broker's jobs. So bids are refused earlier, at a bound that leaves room,
until the drain catches up. Each process measures the backlog itself, once a second while
bids arrive: the workers may be blocked by the same outage.
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

# Upper bound for one bid of a new bidder: a log entry and the bidder's place. The measured
# costs are in core/operations/capacity.py.
BID_BYTES = 700
# A level is left once the backlog is this share of the bound below it, so that a backlog at the
# edge is not logged every second.
MARGIN_SHARE = 0.1
# Above this share of Redis's maxmemory bids are refused.
MEMORY_SHARE = 0.9
LOOK_INTERVAL_SECONDS = 1.0


class Level(StrEnum):
    """How full the backlog is, from empty to full."""

    OK = "ok"
    HALF_FULL = "half_full"
    FULL = "full"


# Log level and event for each new backlog level.
EVENTS = {
    Level.OK: (logging.INFO, "persist_backlog_ok"),
    Level.HALF_FULL: (logging.WARNING, "persist_backlog_half_full"),
    Level.FULL: (logging.ERROR, "persist_backlog_full"),
}


@dataclass(frozen=True, slots=True)
class Backlog:
    """Bids of all sessions that wait to be persisted, and their bound."""

    bids: int
    max_bids: int

    @property
    def level(self) -> Level:
        """Its fill level."""
        if self.bids >= self.max_bids:
            return Level.FULL
        return Level.HALF_FULL if self.bids * 2 >= self.max_bids else Level.OK

    def level_after(self, before: Level) -> Level:
        """The level for a process that saw `before`: up at once, down past the margin."""
        margin = int(self.max_bids * MARGIN_SHARE)
        levels = list(Level)
        falling = Backlog(self.bids + margin, self.max_bids).level
        return max(self.level, min(before, falling, key=levels.index), key=levels.index)


@dataclass(frozen=True, slots=True)
class ServerBacklog:
    """One server's part of the backlog. `room`: how many more bids fit; None: unlimited."""

    bids: int
    room: int | None


def room_in(memory: Mapping[str, Any]) -> int | None:
    """How many more bids fit into a server, from its INFO memory; None: unlimited."""
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
        """Raises BacklogFull, from a measurement that may be a second old.

        It is refreshed in the background: a hanging cluster node must not delay the bid.
        """
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_INTERVAL_SECONDS
            background.start(self._look)
        if self._level is Level.FULL:
            raise errors.BacklogFull

    def _look(self) -> None:
        # During an outage the bid's own call fails.
        with suppress(*outages.REDIS):
            self._note(self.measure())

    def measure(self) -> Backlog:
        """Query Redis. Memory bounds the backlog only if maxmemory is set."""
        servers = self._backlog_by_server()
        bids = sum(server.bids for server in servers)
        rooms = [bids + server.room for server in servers if server.room is not None]
        return Backlog(bids, max(0, min([self._max_bids, *rooms])))

    def _backlog_by_server(self) -> list[ServerBacklog]:
        """The backlog of each server."""
        session_ids: Any = self._redis.smembers(keys.LOADED_SESSIONS)
        return [ServerBacklog(self._count(session_ids), room_in(self._redis.info("memory")))]

    def _count(self, session_ids: Iterable[str]) -> int:
        """Number of bids in these sessions' logs."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for session_id in session_ids:
                pipeline.xlen(keys.bid_log(session_id))
            lengths: list[Any] = pipeline.execute()
        return sum(lengths)

    def _note(self, found: Backlog) -> None:
        level = found.level_after(self._level)
        if level is not self._level:
            log_level, event = EVENTS[level]
            log.log(log_level, event, bids=found.bids, max_bids=found.max_bids)
        self._level = level


class ClusterBacklogGuard(BacklogGuard):
    """The fullest master bounds the total, since any session may get the next bids.

    Unreachable masters are left out: their sessions get no bids and must not block others.
    """

    def __init__(self, redis: Redis, *, max_bids: int) -> None:
        super().__init__(redis, max_bids=max_bids)
        self._cluster = cast(ClusterClient, redis)
        self._session_ids: Any = ()

    def _backlog_by_server(self) -> list[ServerBacklog]:
        """The backlog of each reachable master. Raises ConnectionError if there is none."""
        # The set is on one master. If that is down, the last known sessions are counted.
        with suppress(*outages.REDIS):
            self._session_ids = self._redis.smembers(keys.LOADED_SESSIONS)
        sessions_of: dict[tuple[str, int], list[str]] = defaultdict(list)
        for session_id in self._session_ids:
            with suppress(redis_errors.SlotNotCoveredError):
                sessions_of[self._cluster.master_of(keys.bid_log(session_id))].append(session_id)
        servers = []
        for node in self._cluster.masters():
            with suppress(*outages.REDIS):
                memory = self._redis.info("memory", target_nodes=node)
                bids = self._count(sessions_of[node.host, node.port])
                servers.append(ServerBacklog(bids, room_in(memory)))
        if not servers:
            raise redis_errors.ConnectionError(NO_MASTER)
        return servers
