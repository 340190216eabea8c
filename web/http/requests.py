"""Requests as the lane takes them, whichever door they came by, and answers as they go out."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from web.http.body import MAX_BODY_BYTES

Receive = Any
Scope = Mapping[str, Any]
Headers = list[tuple[bytes, bytes]]

# An extension of ASGI that web/front/http.py offers: a coroutine function that sends a Response.
ANSWER_AT_ONCE = "flashbid.answer_at_once"

# For how long a client may still send after its answer; RFC 9112, section 9.6, says why.
LINGER_SECONDS = 2.0
_WANTED = frozenset({b"authorization", b"content-type", b"origin", b"x-request-id"})


class ClientGone(Exception):
    """The client has hung up in mid-request."""


class Request(Struct):
    """One request. `body` None: it is longer than MAX_BODY_BYTES."""

    method: str
    path: str
    query: bytes
    client: str
    headers: Mapping[bytes, bytes]
    body: bytes | None
    door: str

    def header(self, name: bytes) -> str:
        """A header's text; "" when it is absent. Only those of _WANTED are here."""
        return self.headers.get(name, b"").decode("latin-1")


class Response(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


async def read_request(scope: Scope, receive: Receive) -> Request:
    """A request of an ASGI server. Raises ClientGone."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _WANTED:
            headers[name] = headers[name] + b"," + value if name in headers else value
    client = scope["client"]
    return Request(
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

    How long it may take is the server's to say (web/front/server.py).
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
    """Read what a client still sends: unread, it would have the system reset the connection,
    and the reset overtake the answer.
    """
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass
