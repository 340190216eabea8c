"""The lane's requests, from ASGI or from Flask, and complete responses."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

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
    # False: the client may still be sending, so the connection cannot be used again.
    is_read_to_end: bool = True

    def address(self, trusted_proxies: int) -> str:
        """The client's address; behind proxies the one that the first of them saw."""
        forwarded = parse_list_header(self.header(b"x-forwarded-for"))
        if 0 < trusted_proxies <= len(forwarded):
            return forwarded[-trusted_proxies]
        return self.client

    def header(self, name: bytes) -> str:
        """A header's text; "" when absent. From ASGI only those in _LANE_HEADERS are kept."""
        return self.headers.get(name, b"").decode("latin-1")


class RawResponse(NamedTuple):
    """A complete response, ready to send; a long one has pieces instead of a body."""

    status: int
    headers: Headers
    body: bytes
    pieces: Iterable[bytes] | None = None


async def read_request(scope: Scope, receive: Receive, max_bytes: int) -> LaneRequest:
    """Read an ASGI request with a body of at most `max_bytes`. Raises ClientGone."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _LANE_HEADERS:
            headers[name] = headers[name] + b"," + value if name in headers else value
    client = scope["client"]
    body, is_read_to_end = await read_body(receive, max_bytes)
    return LaneRequest(
        scope["method"],
        scope["path"],
        scope["query_string"],
        client[0] if client else "",
        headers,
        body,
        "lane",
        is_read_to_end,
    )


async def read_body(receive: Receive, max_bytes: int) -> tuple[bytes | None, bool]:
    """The whole body, None when it is longer than `max_bytes`; and whether all of it was read.

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
