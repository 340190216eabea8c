"""The lane's requests, from ASGI or from Flask, and complete responses."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from werkzeug.http import parse_list_header

from web.http.body import MAX_BODY_BYTES

Receive = Any
Send = Any
Scope = Mapping[str, Any]
Headers = list[tuple[bytes, bytes]]

# An ASGI extension of web/front/http.py: a coroutine function that sends a RawResponse, which
# has no pieces.
SEND_WHOLE = "flashbid.send_whole"

# A longer response is read and sent in pieces of this size: two of them are in memory.
PIECE_BYTES = 64 * 1024
MAX_WHOLE_BYTES = 1024 * 1024
# How long a client may keep sending after its response (RFC 9112, section 9.6).
LINGER_SECONDS = 2.0


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
        """A header's text; "" when absent."""
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


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The headers of an ASGI request; the texts of a repeated one are joined."""
    headers = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        headers.clear()
        for name, value in scope["headers"]:
            headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def lane_request(scope: Scope, body: bytes | None) -> LaneRequest:
    """An ASGI request whose body was read; a WebSocket's handshake has none."""
    client = scope["client"]
    return LaneRequest(
        scope.get("method", "GET"),
        scope["path"],
        scope["query_string"],
        client[0] if client else "",
        headers_of(scope),
        body,
        "lane",
    )


async def read_body(receive: Receive, max_bytes: int) -> bytes | None:
    """The whole body, None when it is longer than `max_bytes`. Raises ClientGone.

    Bodies up to MAX_BODY_BYTES are read to their end, since a new connection would cost more.
    The server limits the time, and closes a connection after the response to a request that
    was not read to its end (web/front/http.py).
    """
    parts: list[bytes] = []
    length, is_complete = 0, False
    while not is_complete and length <= MAX_BODY_BYTES:
        message = await receive()
        part = message.get("body", b"")
        length += len(part)
        if length <= max_bytes:
            parts.append(part)
        is_complete = not message.get("more_body")
    if message["type"] == "http.disconnect":
        raise ClientGone
    return b"".join(parts) if length <= max_bytes else None
