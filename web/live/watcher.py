"""One watching browser: how often it is sent to, and when it is given up."""

import asyncio
import socket
from contextlib import suppress
from typing import cast

from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State
from websockets.server import ServerProtocol

from web.live.snapshot import Snapshot

FRAME_INTERVAL_SECONDS = 0.2
# The loop's clock may wake a tick a hair early.
_CLOCK_TOLERANCE_SECONDS = 0.005
# How long a watcher may leave a frame unread. Meanwhile it is sent nothing new.
MAX_BEHIND_SECONDS = 5.0

_HANDSHAKE_TIMEOUT_SECONDS = 5.0
_PING_INTERVAL_SECONDS = 20.0
_PING_TIMEOUT_SECONDS = 20.0
_CLOSE_TIMEOUT_SECONDS = 2.0
_MAX_MESSAGE_BYTES = 1024
_MAX_MESSAGES_QUEUED = 4
# Whatever waits here to be read holds back what would come after it.
_WRITE_LIMIT_BYTES = 0
# The kernel's share of what a watcher may leave unread: a few frames.
_SEND_BUFFER_BYTES = 32 * 1024
# A frame goes to the transport in pieces, since that may copy what the kernel does not take:
# with many winners the last frame is megabytes, and all watchers get it at the same moment.
PIECE_BYTES = 16 * 1024


class Watcher(ServerConnection):
    """A connection that a web process has handed in."""

    def __init__(self, house: "House") -> None:
        super().__init__(
            ServerProtocol(max_size=_MAX_MESSAGE_BYTES),
            # The library asks its server one thing here: whether it is serving.
            cast(Server, house),
            ping_interval=_PING_INTERVAL_SECONDS,
            ping_timeout=_PING_TIMEOUT_SECONDS,
            close_timeout=_CLOSE_TIMEOUT_SECONDS,
            max_queue=_MAX_MESSAGES_QUEUED,
            write_limit=_WRITE_LIMIT_BYTES,
        )
        self.seen: Snapshot | None = None
        # What is left of the frame: a view of the bytes that all watchers share.
        self._unsent = memoryview(b"")
        self._sent_at = float("-inf")
        self._behind_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Leave out the handler task that the library's own server would start."""
        Connection.connection_made(self, transport)

    def resume_writing(self) -> None:
        """Go on with the frame: what waited here has been read."""
        super().resume_writing()
        self._send_on()

    def send_data(self) -> None:
        """Hold back what the library sends until the frame is out: it must not go into one."""
        if not self._unsent:
            super().send_data()

    async def open(self, connection: socket.socket, handshake_request: bytes) -> bool:
        """Complete the handshake; whether the WebSocket is open."""
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            await self.loop.connect_accepted_socket(lambda: self, connection)
        except OSError:
            connection.close()
            raise
        self.data_received(handshake_request)
        try:
            async with asyncio.timeout(_HANDSHAKE_TIMEOUT_SECONDS):
                await self.handshake(server_header=None)
        finally:
            if self.state is not State.OPEN:
                self.transport.abort()
        if self.state is State.OPEN:
            self.start_keepalive()
        return self.state is State.OPEN

    @property
    def session(self) -> str:
        """The last part of the path that was asked for."""
        return self.request.path.rpartition("/")[2] if self.request else ""

    async def answer_pings(self) -> None:
        """Answer every text `ping`; returns when the connection has closed."""
        with suppress(ConnectionClosed):
            async for message in self:
                if message == "ping":
                    await self.send("pong")

    def is_due(self, snapshot: Snapshot, now: float) -> bool:
        """Whether to send it this snapshot now. Gives up a watcher that has stopped reading."""
        if self.seen is snapshot or self.state is not State.OPEN:
            return False
        if now + _CLOCK_TOLERANCE_SECONDS < self._sent_at + FRAME_INTERVAL_SECONDS:
            return False
        return not self._is_behind(now)

    def show(self, snapshot: Snapshot, now: float) -> None:
        """Send it to a watcher for whom it is due: no other frame is on its way then."""
        self._unsent = memoryview(snapshot.frames)
        self.seen, self._sent_at = snapshot, now
        self._send_on()

    def _send_on(self) -> None:
        """Send pieces until one waits to be read."""
        while self._unsent and not self._has_waiting and not self.transport.is_closing():
            piece, self._unsent = self._unsent[:PIECE_BYTES], self._unsent[PIECE_BYTES:]
            self.transport.write(piece)
        self.send_data()

    @property
    def _has_waiting(self) -> bool:
        return self.transport.get_write_buffer_size() > 0

    def _is_behind(self, now: float) -> bool:
        """Whether the last frame still waits here to be read."""
        if not self._has_waiting:
            self._behind_since = None
            return False
        self._behind_since = self._behind_since or now
        if now - self._behind_since > MAX_BEHIND_SECONDS:
            self.transport.abort()
        return True


class House:
    """What a watcher's connection wants to know of its server."""

    def __init__(self) -> None:
        self.is_open = True

    def is_serving(self) -> bool:
        return self.is_open
