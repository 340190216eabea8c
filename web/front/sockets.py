"""Live boards over WebSockets: one snapshot a session and process, shown to all its watchers.

Each watched session has a room, which looks at the session's board a few times a second and
makes a snapshot when it has changed. It is written to watchers in slices, so that no bid waits
behind a crowd, and less often where a crowd would take too much of the core that bids need,
too. A watcher who has not read one frame is sent no other; who reads nothing at all, the
server drops.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog
from websockets.frames import Frame, Opcode

from core import errors, outages
from core.bootstrap import Services
from core.telemetry import metrics
from web.guards.problems import HTTP_PROBLEMS, Problem, problem_answer, problem_of
from web.http import schemas
from web.http.answers import common_headers, encode, name_request
from web.http.fields import parse_uuid
from web.http.requests import Scope
from web.page_cache.board import BoardPages

log = structlog.get_logger(__name__)

_PREFIX = "/ws/"
# Close codes: ours, after HTTP's 404, and the registered "try again later".
UNKNOWN_SESSION = 4404
TRY_AGAIN_LATER = 1013

FRAME_INTERVAL_SECONDS = 0.2
# A crowd that would take more than this share of a core gets its frames less often, down to
# the longest interval.
_SHARE_OF_A_CORE = 0.15
_LONGEST_INTERVAL_SECONDS = 0.35
# Written to at once, before others have their turn.
_SLICE_WATCHERS = 25
# Longer messages go out in fragments, of which only one waits to be read.
_FRAGMENT_BYTES = 16 * 1024
# An outage lasts many ticks; the log needs to hear of it now and then.
_SILENCE_SECONDS = 10.0

_EXPECTED: tuple[type[Exception], ...] = (
    errors.SessionNotFound,
    errors.TemporarilyUnavailable,
    *outages.ALL,
)
_FIRST_PAGE: dict[str, int] = schemas.PageQuery().load({})
_WINNERS_ONLY = schemas.Results(exclude=("rankings", "page", "page_size", "total_pages"))
_FULL = replace(
    problem_of(errors.TemporarilyUnavailable),
    detail="Too many viewers. Poll the leaderboard, or try again in a while.",
)
_RETRY_AFTER_SECONDS = 2

Channel = Any


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A board at one moment, as frames; `is_final` when the results stand and no more will come."""

    frames: list[bytes]
    is_final: bool


class Watcher:
    """One WebSocket, what it saw last, and what is on its way to it."""

    __slots__ = ("_send", "_sending", "_turn", "seen")

    def __init__(self, send: Channel) -> None:
        self._send = send
        # No other message may go between the fragments of one.
        self._turn = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None
        self.seen: Snapshot | None = None

    def show(self, snapshot: Snapshot | None) -> None:
        """Send it, unless it was sent, or an older one is still on its way."""
        is_free = self._sending is None or self._sending.done()
        if snapshot is not None and self.seen is not snapshot and is_free:
            self.seen = snapshot
            self._sending = asyncio.create_task(self.send(frames=snapshot.frames))

    def leave(self) -> None:
        """Send nothing more."""
        if self._sending is not None:
            self._sending.cancel()

    async def dismiss(self, error: Exception) -> None:
        """Close, and say why."""
        code, reason = TRY_AGAIN_LATER, errors.TemporarilyUnavailable.detail
        if isinstance(error, errors.SessionNotFound):
            code, reason = UNKNOWN_SESSION, error.detail
        else:
            _report("watcher_dismissed", error)
        with suppress(OSError):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def send(self, **message: Any) -> None:
        """Send a message. Whoever waits for the peer's own hears of one that has gone."""
        with suppress(OSError):
            async with self._turn:
                await self._send({"type": "websocket.send", **message})


class SessionRoom:
    """The watchers of one session and the last snapshot of its board."""

    def __init__(self, session_id: UUID, services: Services, pages: BoardPages) -> None:
        self.watchers: set[Watcher] = set()
        self.snapshot: Snapshot | None = None
        self._session_id = session_id
        self._services, self._pages = services, pages
        self._text = b""
        self._used_seconds = 0.0
        self._silent_until = float("-inf")

    async def run(self) -> None:
        """Keep all watchers up to date, as long as there are any."""
        while self.watchers:
            started_at = time.monotonic()
            try:
                if self.snapshot is None or not self.snapshot.is_final:
                    await self._look()
            except Exception as error:  # noqa: BLE001 - watchers keep what they have
                await self._note(error)
            await self._show_all()
            pause = started_at + interval_seconds(self._used_seconds) - time.monotonic()
            await asyncio.sleep(max(0.0, pause))

    async def _look(self) -> None:
        """Make a snapshot, if the board has changed."""
        page = await self._pages.current(self._session_id, **_FIRST_PAGE)
        if page.text == self._text:
            return
        frames = _frames("leaderboard_update", page.at(time.monotonic()))
        if page.is_final:
            frames += await self._services.runtime.background.run(self._ending)
        self._text, self.snapshot = page.text, Snapshot(frames, page.is_final)

    def _ending(self) -> list[bytes]:
        """In a thread, since there may be thousands of winners: who won."""
        results = self._services.results.get(self._session_id, page=1, page_size=1)
        return _frames("session_ended", encode(_WINNERS_ONLY.dump(results)))

    async def _note(self, error: Exception) -> None:
        """Log it now and then. Who has seen nothing yet need not wait for better times."""
        if self.snapshot is None:
            for watcher in tuple(self.watchers):
                self.watchers.discard(watcher)
                await watcher.dismiss(error)
        elif time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + _SILENCE_SECONDS
            _report("live_tick_failed", error)

    async def _show_all(self) -> None:
        self._used_seconds = 0.0
        watchers = [each for each in self.watchers if each.seen is not self.snapshot]
        for at in range(0, len(watchers), _SLICE_WATCHERS):
            started_at = time.thread_time()
            for watcher in watchers[at : at + _SLICE_WATCHERS]:
                watcher.show(self.snapshot)
            await asyncio.sleep(0)
            self._used_seconds += time.thread_time() - started_at


class Watchers:
    """All watchers of this process."""

    def __init__(self, services: Services, pages: BoardPages, *, max_watchers: int) -> None:
        self._services, self._pages = services, pages
        self._common_headers = common_headers(services.settings)
        self._max_watchers = max_watchers
        self._count = 0
        self._rooms: dict[UUID, SessionRoom] = {}
        # A task that nothing holds may end before its time.
        self._running: set[asyncio.Task[None]] = set()
        metrics.WATCHERS.set_function(lambda: self._count)

    async def serve(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """Show a session's board to one WebSocket until it closes."""
        await receive()
        path = scope["path"]
        if not path.startswith(_PREFIX) or "/" in path[len(_PREFIX) :]:
            return await self._refuse(scope, send, HTTP_PROBLEMS[404])
        if self._count >= self._max_watchers:
            return await self._refuse(scope, send, _FULL)
        self._count += 1
        watcher = Watcher(send)
        try:
            await send({"type": "websocket.accept"})
            await self._show(path[len(_PREFIX) :], watcher, receive)
        finally:
            watcher.leave()
            self._count -= 1

    async def _show(self, session_text: str, watcher: Watcher, receive: Channel) -> None:
        try:
            room = self._room_of(parse_uuid(session_text))
        except ValueError:
            return await watcher.dismiss(errors.SessionNotFound())
        room.watchers.add(watcher)
        try:
            watcher.show(room.snapshot)
            await _answer_pings(watcher, receive)
        finally:
            room.watchers.discard(watcher)

    def _room_of(self, session_id: UUID) -> SessionRoom:
        room = self._rooms.get(session_id)
        if room is None:
            room = self._rooms[session_id] = SessionRoom(session_id, self._services, self._pages)
            # It begins to run when its first watcher is in it.
            running = asyncio.create_task(self._keep(session_id, room))
            self._running.add(running)
            running.add_done_callback(self._running.discard)
        return room

    async def _keep(self, session_id: UUID, room: SessionRoom) -> None:
        try:
            await room.run()
        finally:
            del self._rooms[session_id]

    async def _refuse(self, scope: Scope, send: Channel, problem: Problem) -> None:
        """Answer the handshake as a request is answered."""
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = name_request(given)
        answer = problem_answer(problem, request_id)
        headers = {**self._common_headers, **answer.headers, "X-Request-ID": request_id}
        if problem is _FULL:
            headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
        await send(
            {
                "type": "websocket.http.response.start",
                "status": answer.status,
                "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
            }
        )
        await send({"type": "websocket.http.response.body", "body": answer.body})


def interval_seconds(used_seconds: float) -> float:
    """From one tick to the next, when a round takes so much CPU time."""
    affordable = used_seconds / _SHARE_OF_A_CORE
    return min(max(affordable, FRAME_INTERVAL_SECONDS), _LONGEST_INTERVAL_SECONDS)


async def _answer_pings(watcher: Watcher, receive: Channel) -> None:
    """Answer every text `ping`; returns when the connection has closed."""
    while (message := await receive())["type"] != "websocket.disconnect":
        if message.get("text") == "ping":
            await watcher.send(text="pong")


def _report(event: str, error: Exception) -> None:
    """An outage in a word, and a defect in full."""
    if isinstance(error, _EXPECTED):
        log.warning(event, kind=type(error).__name__)
    else:
        log.error(event, exc_info=error)


def _frames(kind: str, document: bytes) -> list[bytes]:
    """A message as a server sends it: the same bytes for every client."""
    text = b'{"type":"%b","data":%b}' % (kind.encode(), document)
    pieces = [text[at : at + _FRAGMENT_BYTES] for at in range(0, len(text), _FRAGMENT_BYTES)]
    last = len(pieces) - 1
    return [
        Frame(Opcode.CONT if number else Opcode.TEXT, piece, fin=number == last).serialize(
            mask=False
        )
        for number, piece in enumerate(pieces)
    ]
