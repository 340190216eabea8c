"""What every answer has, whichever way it is made: JSON encoding, an id, safe headers."""

import json
import re
from random import getrandbits
from typing import Any

from msgspec import Struct, field

from core.config import Settings
from core.telemetry.logs import request_id

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

# What the API answers is no page: nothing in it may be run, framed, guessed at or kept.
COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


JSON_HEADERS: dict[str, str] = {"Content-Type": "application/json"}


class Answer(Struct):
    """An answer that is not yet bound to a web framework."""

    body: bytes
    status: int = 200
    # What became of the request in one word: the error's code, or what a bid became.
    outcome: str = "ok"
    headers: dict[str, str] = field(default_factory=lambda: JSON_HEADERS)


def common_headers(settings: Settings) -> dict[str, str]:
    """Headers of every answer that does not say otherwise."""
    if not settings.hsts_seconds:
        return dict(COMMON_HEADERS)
    hsts = f"max-age={settings.hsts_seconds}"
    return {**COMMON_HEADERS, "Strict-Transport-Security": hsts}


def encode(document: Any) -> bytes:
    """A JSON text of what schemas dump."""
    return _encode(document).encode()


def name_request(given: str | None) -> str:
    """The request's id: the caller's own when it is harmless.

    All log lines of this thread or task carry it, and all jobs that it enqueues.
    """
    name = given if given and _REQUEST_ID.fullmatch(given) else new_request_id()
    request_id.set(name)
    return name


def new_request_id() -> str:
    """An id that no log line carries by itself."""
    return f"{getrandbits(64):016x}"
