"""A lean HTTP client for load: kept-alive connections in one event loop.

A general client would use as much CPU as the service under test. Each connection has at most
one request in flight.
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import NamedTuple, Self, cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser


class Response(NamedTuple):
    """The response to one request."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """A service's address, and the path before all of its paths."""

    host: str
    port: int
    base_path: str = ""
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, url: str) -> Self:
        """The target that an HTTP URL names."""
        parts = urlsplit(url)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname or "", port, parts.path.rstrip("/"), tls)

    def head(self, method: str, path: str) -> bytes:
        """The first lines of a request."""
        line = f"{method} {self.base_path}{path} HTTP/1.1"
        return f"{line}\r\nHost: {self.host}:{self.port}\r\n".encode()


class Connection:
    """One connection. It is opened by its first request, and again after a failure."""

    def __init__(self, target: Target, timeout_seconds: float) -> None:
        self._target, self._timeout_seconds = target, timeout_seconds
        self._exchange: _Exchange | None = None

    async def request(self, request: bytes) -> Response:
        """Send an encoded request. Raises ConnectionError, TimeoutError and other OSErrors."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if self._exchange is None or self._exchange.is_closed:
                    self._exchange = await self._open()
                return await self._exchange.respond(request)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close; whoever waits for a response gets a ConnectionError."""
        if self._exchange is not None:
            self._exchange.close()

    async def _open(self) -> "_Exchange":
        loop = asyncio.get_running_loop()
        target = self._target
        _, exchange = await loop.create_connection(
            _Exchange, target.host, target.port, ssl=target.tls
        )
        return exchange


class _Exchange(asyncio.Protocol):
    """The requests and responses of one TCP connection. Its `on_` methods are the parser's."""

    def __init__(self) -> None:
        self.is_closed = False
        self._response: asyncio.Future[Response] | None = None
        self._parser, self._body = HttpResponseParser(self), b""

    def respond(self, request: bytes) -> "asyncio.Future[Response]":
        """Send a request; its response."""
        self._response = asyncio.get_running_loop().create_future()
        self._parser, self._body = HttpResponseParser(self), b""
        self._transport.write(request)
        return self._response

    def close(self) -> None:
        self.is_closed = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(f"no HTTP response: {error}")
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        self._fail(str(error or "the server closed the connection"))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.is_closed = True
            self._transport.close()
        if self._response and not self._response.done():
            self._response.set_result(Response(self._parser.get_status_code(), self._body))

    def _fail(self, reason: str) -> None:
        if self._response and not self._response.done():
            self._response.set_exception(ConnectionError(reason))
