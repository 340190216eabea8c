"""What every answer has, whichever way it is made: JSON encoding, an id, safe headers."""

import json
import re
from dataclasses import dataclass, field
from random import getrandbits
from typing import Any

from core.config import Settings
from core.logs import request_id

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

# What the API answers is no page: nothing in it may be run, framed, guessed at or kept.
COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not yet bound to a web framework."""

    body: bytes
    status: int = 200
    # What became of the request in one word: the error's code, or what a bid became.
    outcome: str = "ok"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def common_headers(settings: Settings) -> dict[str, str]:
    """Headers of every answer that does not say otherwise."""
    if not settings.hsts_seconds:
        return dict(COMMON_HEADERS)
    hsts = f"max-age={settings.hsts_seconds}"
    return {**COMMON_HEADERS, "Strict-Transport-Security": hsts}


def encode(document: Any) -> bytes:
    """A JSON text of what schemas dump."""
    return _encode(document).encode()


def name_request(environ: dict[str, Any]) -> str:
    """The request's id: the caller's own when it is harmless.

    All log lines of this thread carry it, and all jobs that it enqueues, until its next request.
    """
    given = environ.get("HTTP_X_REQUEST_ID")
    is_harmless = given is not None and _REQUEST_ID.fullmatch(given)
    name = str(given) if is_harmless else f"{getrandbits(64):016x}"
    request_id.set(name)
    return name
