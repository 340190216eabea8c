"""uvicorn's WebSocket protocol with limits; it can send frames encoded once for all watchers."""

import asyncio
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidMessage, InvalidState, SecurityError
from websockets.frames import Close, CloseCode, Frame
from websockets.http11 import Request

from web.front.connections import BoundedConnection, connections, encode_problem
from web.guards.problems import HEAD_TOO_LARGE, UNREADABLE, UPGRADE_REQUIRED
from web.http.requests import LINGER_SECONDS
from web.http.responses import new_request_id

# Bytes a watcher may send per second: little more than an occasional `ping`.
MAX_RECEIVED_BYTES = 4096
MAX_MESSAGE_BYTES = 1024
# Frames a watcher may send per second, pings and fragments included: each costs more than its
# bytes do.
MAX_RECEIVED_FRAMES = 25
# Parsed at a time: a few frames more than are allowed.
_PIECE_BYTES = 256
# The kernel's buffer for a slow watcher: a few frames.
_SEND_BUFFER_BYTES = 32 * 1024


class WatcherProtocol(BoundedConnection, WebSocketsSansIOProtocol):
    """One watcher's connection.

    The application may send {"type": "websocket.send", "frames": [bytes, ...]} with encoded
    frames; each waits until the peer has read the one before it.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the connection."""
        super().connection_made(transport)
        self._received_bytes = self._received_frames = 0
        connections.watch(self.connections)
        # `writable` is cleared as soon as anything is buffered.
        self.transport.set_write_buffer_limits(0)
        if sock := transport.get_extra_info("socket"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes within the limit."""
        if not self.handshake_initiated:
            super().data_received(data)
            if not self.handshake_initiated:
                self._reject_handshake()
            return
        self._received_bytes += len(data)
        if self._received_bytes > MAX_RECEIVED_BYTES:
            self._dismiss(CloseCode.MESSAGE_TOO_BIG)
            return
        for at in range(0, len(data), _PIECE_BYTES):
            if self._received_frames > MAX_RECEIVED_FRAMES:
                self._dismiss(CloseCode.POLICY_VIOLATION)
                return
            self.conn.receive_data(data[at : at + _PIECE_BYTES])
            self._received_frames += len(self.conn.events)
            if self.conn.parser_exc is not None:
                self.handle_parser_exception()
                return
            self.handle_events()

    def handle_connect(self, event: Request) -> None:
        """Start the application. `data_received` answers a handshake that was not accepted."""
        if self.conn.accept(event).status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            super().handle_connect(event)

    def enforce_limits(self, now: float, max_idle_seconds: float) -> None:
        """Also start the next second's receive limits."""
        super().enforce_limits(now, max_idle_seconds)
        self._received_bytes = self._received_frames = 0

    def handle_cont(self, event: Frame) -> None:
        """Ignore empty fragments, which would otherwise accumulate without limit."""
        if event.data or event.fin:
            super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        """Send the close reason and close later: with unread bytes the system would reset the
        connection at once, and the peer might lose the reason.
        """
        if self.close_sent:
            return
        self.close_sent = True
        close = self.conn.close_sent or Close(CloseCode.ABNORMAL_CLOSURE, "")
        message = {"type": "websocket.disconnect", "code": close.code, "reason": close.reason}
        self.queue.put_nowait(cast(Any, message))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def shutdown(self) -> None:
        """Close, unless the peer already has."""
        with suppress(InvalidState):
            super().shutdown()

    async def send(self, message: Any) -> None:
        """Send the application's message or frames."""
        frames = message.get("frames")
        if frames is None:
            await self._wait_for_reader()
            await super().send(message)
            if message["type"] == "websocket.http.response.body":
                # Otherwise uvicorn reports an error.
                self.handshake_complete = True
            return
        for frame in frames:
            await self._wait_for_reader()
            self.transport.write(frame)

    async def _wait_for_reader(self) -> None:
        await self.writable.wait()
        # Nothing may follow a close by either side.
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ClientDisconnected

    def _dismiss(self, code: CloseCode) -> None:
        """Close the connection of a watcher that sends too much."""
        if not self.close_sent:
            self.conn.fail(code)
            self.handle_parser_exception()

    def _reject_handshake(self) -> None:
        """Respond to a handshake that does not parse, to which uvicorn would never respond, and
        to one that is none, to which it would respond in its own words.
        """
        match self.conn.handshake_exc:
            case InvalidMessage():
                problem = UNREADABLE
            case SecurityError():
                problem = HEAD_TOO_LARGE
            case _:
                problem = UPGRADE_REQUIRED
        self.transport.write(encode_problem(problem, new_request_id()))
        self.transport.close()
