"""uvicorn's WebSocket protocol, bounded; it takes frames that were made once for all, too."""

import asyncio
import socket
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidMessage, InvalidState
from websockets.frames import Close, CloseCode, Frame

from web.front.connections import Bounded, bytes_of, connections
from web.guards.problems import HEAD_TOO_LARGE, UNREADABLE
from web.http.answers import new_request_id
from web.http.requests import LINGER_SECONDS

# What a watcher may say in a second: hardly anything but `ping` now and then.
MAX_HEARD_BYTES = 4096
MAX_MESSAGE_BYTES = 1024
# The kernel's share of what a watcher may leave unread: a few frames.
_SEND_BUFFER_BYTES = 32 * 1024


class WatcherProtocol(Bounded, WebSocketsSansIOProtocol):
    """One watcher's connection.

    An application may send {"type": "websocket.send", "frames": [bytes, ...]}: whole frames
    as they go over the wire, each of which waits until the peer has read what was before it.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection over."""
        super().connection_made(transport)
        self._heard_bytes = 0
        connections.add(self)
        # Whatever waits here to be read holds back what would come after it.
        self.transport.set_write_buffer_limits(0)
        if sock := transport.get_extra_info("socket"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        connections.open.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hear what the peer says, as long as it is not too much."""
        if not self.handshake_initiated:
            super().data_received(data)
            if not self.handshake_initiated:
                self._refuse_handshake()
            return
        self._heard_bytes += len(data)
        if self._heard_bytes <= MAX_HEARD_BYTES:
            super().data_received(data)
        elif not self.close_sent:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG)
            self.handle_parser_exception()

    def look(self, now: float, max_idle_seconds: float) -> None:
        """Let the peer say more."""
        super().look(now, max_idle_seconds)
        self._heard_bytes = 0

    def handle_cont(self, event: Frame) -> None:
        """Take a part of a message; empty ones say nothing, and would be kept without bound."""
        if event.data or event.fin:
            super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        """Say why it ends, and wait for the peer to hear of it: closed with something unread,
        the system would reset the connection, and the reset overtake the reason.
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
        """Say goodbye, unless the peer has said it."""
        with suppress(InvalidState):
            super().shutdown()

    async def send(self, message: Any) -> None:
        """Send what the application says."""
        frames = message.get("frames")
        if frames is None:
            await self._wait_for_reader()
            await super().send(message)
            if message["type"] == "websocket.http.response.body":
                # uvicorn calls it an error otherwise.
                self.handshake_complete = True
            return
        for frame in frames:
            await self._wait_for_reader()
            self.transport.write(frame)

    async def _wait_for_reader(self) -> None:
        await self.writable.wait()
        # After a goodbye of either side nothing may follow.
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ClientDisconnected

    def _refuse_handshake(self) -> None:
        """Answer what the library cannot read, and uvicorn would leave unanswered for ever."""
        is_unreadable = isinstance(self.conn.handshake_exc, InvalidMessage)
        problem = UNREADABLE if is_unreadable else HEAD_TOO_LARGE
        self.transport.write(bytes_of(problem, new_request_id()))
        self.transport.close()
