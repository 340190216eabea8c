"""The lane's requests, from ASGI or from Flask, and complete responses."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from web.http.body import MAX_BODY_BYTES

Receive = Any
Send = Any
Scope = Mapping[str, Any]
Headers = list[tuple[bytes, bytes]]

# An ASGI extension of web/front/http.py: a coroutine function that sends a RawResponse.
SEND_WHOLE = "flashbid.send_whole"

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
    """One request. `body` is None when longer than MAX_BODY_BYTES."""

    method: str
    path: str
    query: bytes
    client: str
    headers: Mapping[bytes, bytes]
    body: bytes | None
    door: str

    def header(self, name: bytes) -> str:
        """A header's text; "" when absent. From ASGI only those in _LANE_HEADERS are kept."""
        return self.headers.get(name, b"").decode("latin-1")


class RawResponse(NamedTuple):
    """A complete response, ready to send."""

    status: int
    headers: Headers
    body: bytes


async def read_request(scope: Scope, receive: Receive) -> LaneRequest:
    """Read an ASGI request. Raises ClientGone."""
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
        await read_body(receive),
        "lane",
    )


async def read_body(receive: Receive) -> bytes | None:
    """The whole body; None when it is longer than MAX_BODY_BYTES. Raises ClientGone.

    The server limits the time (web/front/http.py).
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    parts = [body]
    length = len(body)
    while message.get("more_body"):
        if length > MAX_BODY_BYTES:
            return None
        message = await receive()
        parts.append(message.get("body", b""))
        length += len(parts[-1])
    if message["type"] == "http.disconnect":
        raise ClientGone
    if length > MAX_BODY_BYTES:
        return None
    return body if len(parts) == 1 else b"".join(parts)


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
