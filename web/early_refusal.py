"""Refuses a request by its first bytes: nothing is parsed, no thread taken, no server asked."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from random import getrandbits, randint

from web.answers import COMMON_HEADERS, Answer
from web.arrival import HEAD_END
from web.cors import HeadersOf, no_headers
from web.errors import OVERLOADED, Problem, problem_answer

# Read by those who must see into a service that is full, or help it.
_SPARED = re.compile(rb"[A-Z]+ /(?:health|ready|metrics|api/admin/)")
_REQUEST_ID = re.compile(rb"\r\nx-request-id:[ \t]*([\w.-]{1,64})[ \t]*\r\n", re.IGNORECASE)
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([!-~]{1,256})[ \t]*\r\n", re.IGNORECASE)
# Spread, so that those who were refused together do not come back together.
RETRY_AFTER_MAX_SECONDS = 3

_common_headers: Mapping[str, str] = COMMON_HEADERS
_cors_headers_of: HeadersOf = no_headers


def let_origins_read(headers_of: HeadersOf) -> None:
    """Tell pages of these origins, too, why they are refused; once in each web process."""
    global _cors_headers_of  # noqa: PLW0603 - the worker knows no application
    _cors_headers_of = headers_of


def send_always(headers: Mapping[str, str]) -> None:
    """Send these with every answer; once in each web process."""
    global _common_headers  # noqa: PLW0603 - likewise
    _common_headers = headers


def is_spared(start: bytes) -> bool:
    """Whether the request that starts so is served even when others are refused."""
    return _SPARED.match(start) is not None


def answer(start: bytes, *, keeps_connection: bool, problem: Problem = OVERLOADED) -> bytes:
    """The whole refusal of the request that starts so."""
    given = _REQUEST_ID.search(start)
    request_id = given[1].decode("ascii") if given else f"{getrandbits(64):016x}"
    refusal = problem_answer(problem, request_id)
    if problem is OVERLOADED:
        refusal.headers["Retry-After"] = str(randint(1, RETRY_AFTER_MAX_SECONDS))  # noqa: S311 - no secret
    refusal.headers.update(_cors_headers(start))
    return bytes_of(refusal, request_id, keeps_connection=keeps_connection)


def bytes_of(answer: Answer, request_id: str, *, keeps_connection: bool = False) -> bytes:
    """An answer as it goes out where no application makes it, with the headers that all have."""
    headers = {
        **answer.headers,
        "Content-Length": len(answer.body),
        "Connection": "keep-alive" if keeps_connection else "close",
        "X-Request-ID": request_id,
        **_common_headers,
    }
    lines = "".join([f"{name}: {text}\r\n" for name, text in headers.items()])
    phrase = HTTPStatus(answer.status).phrase
    return f"HTTP/1.1 {answer.status} {phrase}\r\n{lines}\r\n".encode("ascii") + answer.body


def _cors_headers(start: bytes) -> dict[str, str]:
    end = start.find(HEAD_END)
    given = _ORIGIN.search(start, 0, end + 2) if end >= 0 else None
    return _cors_headers_of(given[1].decode("ascii") if given else None)
