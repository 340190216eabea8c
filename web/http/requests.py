"""The lane's requests, from ASGI or from Flask, and complete responses."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from werkzeug.http import parse_list_header

from web.http.body import MAX_BODY_BYTES

Receive = Any
Send = Any
Scope = Mapping[str, Any]
Headers = list[tuple[bytes, bytes]]

# An ASGI extension of web/front/http.py: a coroutine function that sends a RawResponse.
SEND_WHOLE = "flashbid.send_whole"

# A longer response is read and sent in pieces of this size: two of them are in memory.
PIECE_BYTES = 64 * 1024
MAX_WHOLE_BYTES = 1024 * 1024
# How long a client may keep sending after its response (RFC 9112, section 9.6).
LINGER_SECONDS = 2.0
_LANE_HEADERS = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-type",
        b"origin",
        b"x-forwarded-for",
        b"x-request-id",
    }
)


class ClientGone(Exception):
    """The client disconnected before its request was complete."""


class UpgradeRequired(Exception):
    """The address is a WebSocket's, and the request is no handshake."""


class LaneRequest(Struct):
    """One request. `body` is None when it is too long."""

    method: str
    path: str
    query: bytes
    client: str
    headers: Mapping[bytes, bytes]
    body: bytes | None
    door: str

    def address(self, trusted_proxies: int) -> str:
        """The client's address; behind proxies the one that the first of them saw."""
        forwarded = parse_list_header(self.header(b"x-forwarded-for"))
        if 0 < trusted_proxies <= len(forwarded):
            return forwarded[-trusted_proxies]
        return self.client

    def header(self, name: bytes) -> str:
        """A header's text; "" when absent. From ASGI only those in _LANE_HEADERS are kept."""
        return self.headers.get(name, b"").decode("latin-1")


class RawResponse(Struct):
    """A complete response, ready to send; a long one has pieces instead of a body.

    `head`: its header lines, as `encode_headers` makes them.
    """

    status: int
    head: bytes
    body: bytes
    pieces: Iterable[bytes] | None = None

    @property
    def headers(self) -> Headers:
        """The names and values of its header lines."""
        lines = self.head.splitlines()
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def encode_headers(headers: Iterable[tuple[str, str]]) -> bytes:
    """Header lines as they are sent, each with its CRLF."""
    return "".join([f"{name.lower()}: {text}\r\n" for name, text in headers]).encode("latin-1")


def lane_request(scope: Scope, body: bytes | None) -> LaneRequest:
    """An ASGI request whose body was read."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _LANE_HEADERS:
            headers[name] = headers[name] + b"," + value if name in headers else value
    client = scope["client"]
    return LaneRequest(
        scope["method"],
        scope["path"],
        scope["query_string"],
        client[0] if client else "",
        headers,
        body,
        "lane",
    )


async def read_body(receive: Receive, max_bytes: int) -> tuple[bytes | None, bool]:
    """The whole body, None when it is longer than `max_bytes`; and whether all of it was read.
    If not, the client may still be sending, so the connection cannot be used again.

    Bodies up to MAX_BODY_BYTES are read to their end, since a new connection would cost more.
    The server limits the time (web/front/http.py). Raises ClientGone.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    parts = [body]
    length = len(body)
    while message.get("more_body"):
        if length > MAX_BODY_BYTES:
            return None, False
        message = await receive()
        part = message.get("body", b"")
        length += len(part)
        if length <= max_bytes:
            parts.append(part)
    if message["type"] == "http.disconnect":
        raise ClientGone
    if length > max_bytes:
        return None, True
    return body if len(parts) == 1 else b"".join(parts), True


async def linger(receive: Receive) -> None:
    """Read the rest of a request: unread bytes would make the system reset the connection, and
    the client might lose the response.
    """
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass
