"""Shows boards: one look at all watched sessions a tick, one snapshot of each that changed."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from core import errors
from core.board import Mark
from core.bootstrap import Services
from web.fields import parse_uuid
from web.live import snapshot
from web.live.snapshot import Snapshot
from web.live.watcher import FRAME_INTERVAL_SECONDS, Watcher

log = structlog.get_logger(__name__)

# Close codes: ours, after HTTP's 404, and the registered "try again later".
UNKNOWN_SESSION = 4404
TRY_AGAIN_LATER = 1013

# The machine is the bidders' too: a crowd that would take more than this share of a core
# gets its frames less often, down to the longest interval.
_SHARE_OF_A_CORE = 0.15
_LONGEST_INTERVAL_SECONDS = 0.35

# An outage lasts many ticks; the log needs to hear of it now and then.
_SILENCE_SECONDS = 10.0

_EXPECTED: tuple[type[Exception], ...] = (
    errors.SessionNotFound,
    errors.TemporarilyUnavailable,
    *errors.OUTAGES,
)


class Channel:
    """The watchers of one session and the last snapshot of its board."""

    def __init__(self, session_id: UUID) -> None:
        self.session_id = session_id
        self.watchers: set[Watcher] = set()
        self.mark: Mark | None = None
        self.snapshot: Snapshot | None = None
        self.first_look = asyncio.Lock()

    @property
    def may_change(self) -> bool:
        return self.snapshot is not None and not self.snapshot.is_final

    def show(self, watchers: Iterable[Watcher], now: float) -> None:
        """Send the snapshot to those who have not seen it and may get a frame now."""
        if self.snapshot is None:
            return
        for watcher in watchers:
            if watcher.is_due(self.snapshot, now):
                watcher.show(self.snapshot, now)


class Showing:
    """All channels of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._channels: dict[UUID, Channel] = {}
        self._silent_until = float("-inf")

    async def show(self, watcher: Watcher, session_text: str) -> None:
        """Show a watcher the session's board until it leaves."""
        try:
            session_id = parse_uuid(session_text)
        except ValueError:
            return await _dismiss(watcher, errors.SessionNotFound())
        channel = self._channels.setdefault(session_id, Channel(session_id))
        channel.watchers.add(watcher)
        try:
            await self._welcome(watcher, channel)
            await watcher.answer_pings()
        except _EXPECTED as error:
            await _dismiss(watcher, error)
        finally:
            channel.watchers.discard(watcher)
            if not channel.watchers:
                self._channels.pop(session_id, None)

    async def run(self) -> None:
        """Tick for ever."""
        loop = asyncio.get_running_loop()
        used_before = time.process_time()
        while True:
            started_at = loop.time()
            await self._tick(started_at)
            used = time.process_time()
            await asyncio.sleep(started_at + interval_seconds(used - used_before) - loop.time())
            used_before = used

    async def _welcome(self, watcher: Watcher, channel: Channel) -> None:
        """The newcomer's first frame; only the first watcher of a session waits for it."""
        async with channel.first_look:
            if channel.snapshot is None:
                [mark] = await self._marks([channel])
                await self._refresh(channel, mark)
        channel.show([watcher], asyncio.get_running_loop().time())

    async def _tick(self, now: float) -> None:
        open_channels = [channel for channel in self._channels.values() if channel.may_change]
        with self._outages_survived(now):
            marks = await self._marks(open_channels)
            for channel, mark in zip(open_channels, marks, strict=True):
                if mark != channel.mark:
                    with self._outages_survived(now):
                        await self._refresh(channel, mark)
        for channel in list(self._channels.values()):
            channel.show(channel.watchers, now)

    @contextmanager
    def _outages_survived(self, now: float) -> Iterator[None]:
        """Watchers keep what they have, and the next tick tries again."""
        try:
            yield
        except _EXPECTED as error:
            if now >= self._silent_until:
                self._silent_until = now + _SILENCE_SECONDS
                log.warning("live_tick_failed", kind=type(error).__name__)

    async def _marks(self, channels: list[Channel]) -> list[Mark | None]:
        if not channels:
            return []
        sessions = [channel.session_id for channel in channels]
        return await asyncio.to_thread(self._services.board.marks, sessions)

    async def _refresh(self, channel: Channel, mark: Mark | None) -> None:
        """Take a new snapshot. The mark is from before it, so no change is overlooked."""
        channel.snapshot = await asyncio.to_thread(
            snapshot.take, self._services, channel.session_id
        )
        channel.mark = mark


def interval_seconds(used_seconds: float) -> float:
    """From one tick to the next, when a round takes so much CPU time."""
    affordable = used_seconds / _SHARE_OF_A_CORE
    return min(max(affordable, FRAME_INTERVAL_SECONDS), _LONGEST_INTERVAL_SECONDS)


async def _dismiss(watcher: Watcher, error: Exception) -> None:
    if isinstance(error, errors.SessionNotFound):
        await watcher.close(UNKNOWN_SESSION, error.detail)
    else:
        log.warning("watcher_dismissed", kind=type(error).__name__)
        await watcher.close(TRY_AGAIN_LATER, errors.TemporarilyUnavailable.detail)
