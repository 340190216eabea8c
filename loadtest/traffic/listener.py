"""A lean WebSocket client that listens on thousands of sockets in one process.

The library's client would use as much CPU as the service under test, so incoming frames are
parsed here; keys and outgoing frames come from the library. (Locust puts this folder on the
path, so this module must not be named like a library.)
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.frames import Close, Frame, Opcode
from websockets.utils import accept_key, generate_key

OPEN_TIMEOUT_SECONDS = 15.0
HEAD_END = b"\r\n\r\n"
FIN, OPCODE, MASKED = 0x80, 0x0F, 0x80
_NORMAL, _LOST = 1000, 1006

# Called with each text message; returns whether to keep listening.
OnText = Callable[[bytes], bool]


class UpgradeFailed(Exception):
    """The upgrade was refused or got no response."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a WebSocket: host, port and path."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str, path: str) -> "Address":
        """`url` is the service's HTTP URL; `path` is appended to its path."""
        parts = urlsplit(url)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname or "", port, parts.path.rstrip("/") + path, tls)

    def request(self, key: str) -> bytes:
        """The upgrade request."""
        lines = (
            f"GET {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        return "\r\n".join((*lines, "", "")).encode()


async def connect(address: Address, scratch: bytearray, on_text: OnText) -> "Socket":
    """Open a WebSocket. All sockets of one event loop may share `scratch`.

    Raises UpgradeFailed.
    """
    loop = asyncio.get_running_loop()
    key = generate_key()
    socket = Socket(scratch, accept_key(key), on_text)
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
            transport, _ = await loop.create_connection(
                lambda: socket, address.host, address.port, ssl=address.tls
            )
            transport.write(address.request(key))
            await socket.opened
    except (OSError, UpgradeFailed) as error:
        socket.abort()
        raise UpgradeFailed(str(error)) from None
    return socket


class Socket(asyncio.BufferedProtocol):
    """One connection. `closed` resolves to the close code."""

    def __init__(self, scratch: bytearray, accept: str, on_text: OnText) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        self._scratch, self._view = scratch, memoryview(scratch)
        self._accept = accept.encode()
        self._on_text = on_text
        # An incomplete head or frame.
        self._rest = bytearray()
        self._message: list[bytes] = []
        self._close_code = _LOST
        self._transport: asyncio.Transport | None = None

    def close(self) -> None:
        """Send a close frame and close."""
        self._send(Opcode.CLOSE, Close(_NORMAL, "").serialize())
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection without a close frame."""
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for sending."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - the type that create_connection makes
        self._transport = transport

    def get_buffer(self, _sizehint: int) -> bytearray:
        """The shared buffer: it is consumed before the next socket fills it."""
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Parse received bytes and keep an incomplete rest."""
        data = self._view[:nbytes]
        if self._rest:
            data = memoryview(bytes(self._rest) + data)
        is_open = self.opened.done()
        used = self._parse_frames(data) if is_open else self._read_head(bytes(data))
        self._rest = bytearray(data[used:])

    def connection_lost(self, _error: Exception | None) -> None:
        """Resolve the `opened` and `closed` futures."""
        if not self.opened.done():
            self.opened.set_exception(UpgradeFailed("the connection was closed"))
        self.closed.set_result(self._close_code)

    def _read_head(self, data: bytes) -> int:
        """Check the upgrade response; returns the number of bytes consumed."""
        head, found, frames = data.partition(HEAD_END)
        if not found:
            return 0
        status = head.split(b" ", 2)[1]
        if int(status) != HTTPStatus.SWITCHING_PROTOCOLS or self._accept not in head:
            self.opened.set_exception(UpgradeFailed(f"answered with status {status.decode()}"))
            self.abort()
            return len(data)
        self.opened.set_result(None)
        return len(data) - len(frames) + self._parse_frames(memoryview(frames))

    def _parse_frames(self, data: memoryview) -> int:
        """Handle every complete frame; returns the number of bytes consumed."""
        start = 0
        while (bounds := _bounds(data, start)) is not None:
            first, end = bounds
            self._handle_frame(data[start], bytes(data[first:end]))
            start = end
        return start

    def _handle_frame(self, head: int, payload: bytes) -> None:
        match head & OPCODE:
            case Opcode.TEXT | Opcode.CONT:
                self._message.append(payload)
                if head & FIN:
                    keep_listening = self._on_text(b"".join(self._message))
                    self._message.clear()
                    if not keep_listening:
                        self.close()
            case Opcode.PING:
                self._send(Opcode.PONG, payload)
            case Opcode.CLOSE:
                self._close_code = int.from_bytes(payload[:2], "big") or _NORMAL
                self.close()

    def _send(self, opcode: Opcode, payload: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(Frame(opcode, payload).serialize(mask=True))


def _bounds(data: memoryview, start: int) -> tuple[int, int] | None:
    """Start and end of the payload of the frame at `start`; None if incomplete."""
    if len(data) < start + 2:
        return None
    length, first = data[start + 1], start + 2
    if length & MASKED:
        raise ConnectionError("the server sent a masked frame")
    if length >= 126:
        size = 2 if length == 126 else 8
        first += size
        if len(data) < first:
            return None
        length = int.from_bytes(data[first - size : first], "big")
    return (first, first + length) if len(data) >= first + length else None
