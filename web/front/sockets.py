"""Live boards over WebSockets: one snapshot per session and process, sent to all its watchers.

Each watched session has a room, which polls the session's board a few times a second and
makes a snapshot when it has changed. Snapshots are sent in slices, so that bids do not wait
behind a crowd, and less often when sending would take too much of the core that bids need.
A watcher who has not read one frame gets no other; the server drops those who read nothing.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog
from flask import Flask
from websockets.frames import Frame, Opcode

from core import errors, outages
from core.runtime import Background
from core.telemetry import metrics
from web.guards.problems import (
    HTTP_PROBLEMS,
    INTERNAL_ERROR,
    ORIGIN_NOT_ALLOWED,
    Problem,
    problem_of,
    problem_response,
)
from web.http import schemas
from web.http.cors import may_connect
from web.http.fields import parse_uuid
from web.http.frames import BOARD_UPDATE, SESSION_ENDED
from web.http.requests import LaneRequest, Receive, Scope, Send, lane_request
from web.http.responses import assign_request_id
from web.lane import lane_of
from web.page_cache.board import BoardPages
from web.page_cache.results import ResultsPages
from web.state import board_pages_of, results_pages_of, services_of

log = structlog.get_logger(__name__)

_PREFIX = "/ws"
# Pages of the original watch the list of sessions here. They connect again whatever code closes
# it, so it stays open and silent: that costs less than a handshake every few seconds.
_LIST_OF_SESSIONS = "sessions"
# Close codes: a private one modelled on HTTP 404, and the registered "try again later".
UNKNOWN_SESSION = 4404
TRY_AGAIN_LATER = 1013

FRAME_INTERVAL_SECONDS = 0.2
# When sending takes more than this share of a core, the interval grows up to its maximum.
_MAX_CORE_SHARE = 0.15
_MAX_INTERVAL_SECONDS = 0.35
# Watchers written to before other tasks may run.
_SLICE_WATCHERS = 25
# Longer messages are sent in fragments, one of them unread at a time.
_FRAGMENT_BYTES = 16 * 1024
# An outage lasts many ticks; it is logged at this interval.
_LOG_INTERVAL_SECONDS = 10.0

_FIRST_PAGE: dict[str, int] = schemas.PageQuery().load({})
_TOO_MANY_VIEWERS = replace(
    problem_of(errors.TemporarilyUnavailable),
    detail="Too many viewers. Poll the leaderboard, or try again later.",
    headers=(("Retry-After", "2"),),
)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A board at one moment, as frames; the last one when `is_final`."""

    frames: list[bytes]
    is_final: bool


class Watcher:
    """One WebSocket, the last snapshot sent to it, and the send in progress."""

    __slots__ = ("_send", "_send_lock", "_sending", "seen")

    def __init__(self, send: Send) -> None:
        self._send = send
        # Held for a whole message: its fragments must not be interleaved.
        self._send_lock = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None
        self.seen: Snapshot | None = None

    def show(self, snapshot: Snapshot | None) -> None:
        """Send a snapshot, unless it was sent or an older one is still being sent."""
        is_free = self._sending is None or self._sending.done()
        if snapshot is not None and self.seen is not snapshot and is_free:
            self.seen = snapshot
            self._sending = asyncio.create_task(self.send(frames=snapshot.frames))

    def stop(self) -> None:
        """Cancel the send in progress."""
        if self._sending is not None:
            self._sending.cancel()

    async def close(self, error: Exception) -> None:
        """Close the WebSocket with a reason."""
        code, reason = TRY_AGAIN_LATER, "Live updates are unavailable right now."
        if isinstance(error, errors.SessionNotFound):
            code, reason = UNKNOWN_SESSION, error.detail
        else:
            _log_failure("watcher_dismissed", error)
        with suppress(OSError):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def send(self, **message: Any) -> None:
        """Send a message. Ignores a closed connection: `receive` reports it."""
        with suppress(OSError):
            async with self._send_lock:
                await self._send({"type": "websocket.send", **message})


class SessionRoom:
    """The watchers of one session and the last snapshot of its board."""

    def __init__(
        self, session_id: UUID, background: Background, pages: BoardPages, results: ResultsPages
    ) -> None:
        self.watchers: set[Watcher] = set()
        # asyncio holds tasks only weakly; without a reference they may be collected.
        self.running: asyncio.Task[None] | None = None
        self.snapshot: Snapshot | None = None
        self._session_id = session_id
        self._background, self._pages, self._results = background, pages, results
        self._board_text = b""
        self._cpu_seconds = 0.0
        self._quiet_until = float("-inf")

    async def run(self) -> None:
        """Keep watchers up to date until the last one leaves."""
        while self.watchers:
            started_at = time.monotonic()
            try:
                if self.snapshot is None or not self.snapshot.is_final:
                    await self._refresh()
            except Exception as error:  # noqa: BLE001 - watchers keep their last board
                await self._handle_failure(error)
            await self._broadcast()
            pause = started_at + interval_seconds(self._cpu_seconds) - time.monotonic()
            await asyncio.sleep(max(0.0, pause))

    async def _refresh(self) -> None:
        """Make a snapshot if the board has changed."""
        page = await self._pages.current(self._session_id, **_FIRST_PAGE)
        if page.text == self._board_text:
            return
        frames = _frames(BOARD_UPDATE, page.at(time.monotonic()))
        if page.has_results:
            frames += await self._background.run(self._results_frames)
        self._board_text, self.snapshot = page.text, Snapshot(frames, page.is_final)

    def _results_frames(self) -> list[bytes]:
        """The frames of the results. Runs in a thread: there may be thousands of winners."""
        return _frames(SESSION_ENDED, self._results.winners_only(self._session_id))

    async def _handle_failure(self, error: Exception) -> None:
        """Log the error at intervals; close watchers that have no board to show."""
        if self.snapshot is None:
            for watcher in tuple(self.watchers):
                self.watchers.discard(watcher)
                await watcher.close(error)
        elif time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _LOG_INTERVAL_SECONDS
            _log_failure("live_tick_failed", error)

    async def _broadcast(self) -> None:
        self._cpu_seconds = 0.0
        watchers = [each for each in self.watchers if each.seen is not self.snapshot]
        for at in range(0, len(watchers), _SLICE_WATCHERS):
            started_at = time.thread_time()
            for watcher in watchers[at : at + _SLICE_WATCHERS]:
                watcher.show(self.snapshot)
            await asyncio.sleep(0)
            self._cpu_seconds += time.thread_time() - started_at


class Watchers:
    """All WebSockets of this process."""

    def __init__(self, app: Flask) -> None:
        services = services_of(app)
        self._sources = services.runtime.background, board_pages_of(app), results_pages_of(app)
        self._settings, self._lane = services.settings, lane_of(app)
        self._count = 0
        self._rooms: dict[UUID, SessionRoom] = {}
        metrics.WATCHERS.set_function(lambda: self._count)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a session's board to one WebSocket until it closes."""
        await receive()
        request = lane_request(scope, None)
        prefix, _, session_text = request.path.rpartition("/")
        origin, host = request.header(b"origin"), request.header(b"host")
        if prefix != _PREFIX:
            return await self._refuse(request, send, HTTP_PROBLEMS[404])
        if not may_connect(origin, host, self._settings.cors_origins):
            return await self._refuse(request, send, ORIGIN_NOT_ALLOWED)
        if self._count >= self._settings.live_max_watchers:
            return await self._refuse(request, send, _TOO_MANY_VIEWERS)
        self._count += 1
        watcher = Watcher(send)
        try:
            await send({"type": "websocket.accept"})
            await self._show(session_text, watcher, receive)
        finally:
            watcher.stop()
            self._count -= 1

    async def _show(self, session_text: str, watcher: Watcher, receive: Receive) -> None:
        if session_text == _LIST_OF_SESSIONS:
            return await _answer_pings(watcher, receive)
        try:
            room = self._room_of(parse_uuid(session_text))
        except ValueError:
            return await watcher.close(errors.SessionNotFound())
        room.watchers.add(watcher)
        try:
            watcher.show(room.snapshot)
            await _answer_pings(watcher, receive)
        finally:
            room.watchers.discard(watcher)

    def _room_of(self, session_id: UUID) -> SessionRoom:
        room = self._rooms.get(session_id)
        if room is None:
            room = self._rooms[session_id] = SessionRoom(session_id, *self._sources)
            # The task starts only after the first watcher was added.
            room.running = asyncio.create_task(self._run_room(session_id, room))
        return room

    async def _run_room(self, session_id: UUID, room: SessionRoom) -> None:
        try:
            await room.run()
        finally:
            del self._rooms[session_id]

    async def _refuse(self, request: LaneRequest, send: Send, problem: Problem) -> None:
        """Refuse the handshake with an HTTP response."""
        request_id = assign_request_id(request.header(b"x-request-id"))
        response = self._lane.finish(problem_response(problem, request_id), request_id, None)
        head = {"status": response.status, "headers": response.headers}
        await send({"type": "websocket.http.response.start", **head})
        await send({"type": "websocket.http.response.body", "body": response.body})


def interval_seconds(cpu_seconds: float) -> float:
    """Time between two ticks, given the CPU time that the last one took."""
    affordable = cpu_seconds / _MAX_CORE_SHARE
    return min(max(affordable, FRAME_INTERVAL_SECONDS), _MAX_INTERVAL_SECONDS)


async def _answer_pings(watcher: Watcher, receive: Receive) -> None:
    """Answer every text `ping`; returns when the connection has closed."""
    while (message := await receive())["type"] != "websocket.disconnect":
        if message.get("text") == "ping":
            await watcher.send(text="pong")


def _log_failure(event: str, error: Exception) -> None:
    """Log outages with their reason, and defects with a traceback."""
    if problem_of(type(error)) is INTERNAL_ERROR:
        log.error(event, exc_info=error)
    else:
        reason = outages.reason_of(error) if isinstance(error, outages.ALL) else str(error)
        log.warning(event, kind=type(error).__name__, reason=reason)


def _frames(kind: str, document: bytes) -> list[bytes]:
    """A message as encoded WebSocket frames, the same for every client."""
    text = b'{"type":"%b","data":%b}' % (kind.encode(), document)
    frames = []
    for at in range(0, len(text), _FRAGMENT_BYTES):
        end = at + _FRAGMENT_BYTES
        frame = Frame(Opcode.CONT if at else Opcode.TEXT, text[at:end], fin=end >= len(text))
        frames.append(frame.serialize(mask=False))
    return frames
