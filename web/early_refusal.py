"""Refuses a request by its first bytes: nothing is parsed, no thread taken, no server asked."""

import re
from http import HTTPStatus
from random import getrandbits, randint

from web.arrival import HEAD_END
from web.cors import HeadersOf, no_headers
from web.errors import OVERLOADED, Problem, problem_answer

# Read by those who must see into a service that is full, or help it.
_SPARED = re.compile(rb"[A-Z]+ /(?:health|ready|metrics|api/admin/)")
_REQUEST_ID = re.compile(rb"\r\nx-request-id:[ \t]*([\w.-]{1,64})[ \t]*\r\n", re.IGNORECASE)
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([!-~]{1,256})[ \t]*\r\n", re.IGNORECASE)
# Spread, so that those who were refused together do not come back together.
RETRY_AFTER_MAX_SECONDS = 3

_HEADERS = (
    "HTTP/1.1 {status}\r\n"
    "Content-Type: application/problem+json\r\n"
    "Content-Length: {length}\r\n"
    "Connection: {connection}\r\n"
    "X-Request-ID: {request_id}\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Cache-Control: no-store\r\n"
    "{more}\r\n"
)
_cors_headers_of: HeadersOf = no_headers


def let_origins_read(headers_of: HeadersOf) -> None:
    """Tell pages of these origins, too, why they are refused; once in each web process."""
    global _cors_headers_of  # noqa: PLW0603 - the worker knows no application
    _cors_headers_of = headers_of


def is_spared(start: bytes) -> bool:
    """Whether the request that starts so is served even when others are refused."""
    return _SPARED.match(start) is not None


def answer(start: bytes, *, keeps_connection: bool, problem: Problem = OVERLOADED) -> bytes:
    """The whole refusal of the request that starts so."""
    given = _REQUEST_ID.search(start)
    request_id = given[1].decode("ascii") if given else f"{getrandbits(64):016x}"
    body = problem_answer(problem, request_id).body
    headers = _HEADERS.format(
        status=f"{problem.status} {HTTPStatus(problem.status).phrase}",
        length=len(body),
        connection="keep-alive" if keeps_connection else "close",
        request_id=request_id,
        more=_retry_line(problem) + _cors_lines(start),
    )
    return headers.encode("ascii") + body


def _retry_line(problem: Problem) -> str:
    if problem is not OVERLOADED:
        return ""
    return f"Retry-After: {randint(1, RETRY_AFTER_MAX_SECONDS)}\r\n"  # noqa: S311 - no secret


def _cors_lines(start: bytes) -> str:
    end = start.find(HEAD_END)
    given = _ORIGIN.search(start, 0, end + 2) if end >= 0 else None
    headers = _cors_headers_of(given[1].decode("ascii") if given else None)
    return "".join(f"{name}: {text}\r\n" for name, text in headers.items())
