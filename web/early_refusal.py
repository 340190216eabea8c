"""Refuses a request by its first bytes: nothing is parsed, no thread taken, no server asked."""

import re
from random import getrandbits, randint

from web.cors import HeadersOf, no_headers
from web.errors import OVERLOADED, problem_answer

# Read by those who must see into a service that is full, or help it.
_SPARED = re.compile(rb"[A-Z]+ /(?:health|ready|metrics|api/admin/)")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n")
_WANTS_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close")
_REQUEST_ID = re.compile(rb"\r\nx-request-id:[ \t]*([\w.-]{1,64})[ \t]*\r\n", re.IGNORECASE)
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([!-~]{1,256})[ \t]*\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
# Spread, so that those who were refused together do not come back together.
RETRY_AFTER_MAX_SECONDS = 3

_HEADERS = (
    "HTTP/1.1 503 Service Unavailable\r\n"
    "Content-Type: application/problem+json\r\n"
    "Content-Length: {length}\r\n"
    "Connection: {connection}\r\n"
    "Retry-After: {retry_after}\r\n"
    "X-Request-ID: {request_id}\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Cache-Control: no-store\r\n"
    "{cors}\r\n"
)
_cors_headers_of: HeadersOf = no_headers


def let_origins_read(headers_of: HeadersOf) -> None:
    """Tell pages of these origins, too, why they are refused; once in each web process."""
    global _cors_headers_of  # noqa: PLW0603 - the worker knows no application
    _cors_headers_of = headers_of


def is_spared(start: bytes) -> bool:
    """Whether the request that starts so is served even when others are refused."""
    return _SPARED.match(start) is not None


def whole_length(start: bytes) -> int | None:
    """How long the first request is, in bytes, when all of it is there.

    None when it is not, or when its end cannot be told for certain: whoever refuses it
    then has to close the connection, or its rest would be taken for a request.
    """
    end = start.find(_HEAD_END)
    if end < 0 or start.startswith(b"HEAD "):
        return None
    head = start[: end + 2].lower()
    if not head[: head.index(b"\r\n")].endswith(b" http/1.1"):
        return None
    if b"transfer-encoding" in head or _WANTS_CLOSE.search(head):
        return None
    lengths = _LENGTH.findall(head)
    if len(lengths) != head.count(b"content-length") or len(lengths) > 1:
        return None
    length = end + len(_HEAD_END) + (int(lengths[0]) if lengths else 0)
    return length if length <= len(start) else None


def answer(start: bytes, *, keeps_connection: bool) -> bytes:
    """The whole refusal of the request that starts so."""
    given = _REQUEST_ID.search(start)
    request_id = given[1].decode("ascii") if given else f"{getrandbits(64):016x}"
    body = problem_answer(OVERLOADED, request_id).body
    headers = _HEADERS.format(
        length=len(body),
        connection="keep-alive" if keeps_connection else "close",
        retry_after=randint(1, RETRY_AFTER_MAX_SECONDS),  # noqa: S311 - no secret
        request_id=request_id,
        cors=_cors_lines(start),
    )
    return headers.encode("ascii") + body


def _cors_lines(start: bytes) -> str:
    end = start.find(_HEAD_END)
    given = _ORIGIN.search(start, 0, end + 2) if end >= 0 else None
    headers = _cors_headers_of(given[1].decode("ascii") if given else None)
    return "".join(f"{name}: {text}\r\n" for name, text in headers.items())
