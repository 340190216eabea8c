"""Common to all responses: JSON encoding, request ids, security headers."""

import json
import re
from random import getrandbits
from typing import Any

from msgspec import Struct, field

from core.config import Settings
from core.telemetry.logs import request_id

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

# API responses are not pages: nothing may be executed, framed, sniffed or cached.
COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


JSON_HEADERS: dict[str, str] = {"Content-Type": "application/json"}


class ApiResponse(Struct):
    """A response before it gets the common headers, independent of Flask and ASGI."""

    body: bytes
    status: int = 200
    # The error's code, or the outcome of a bid; for metrics and the access log.
    outcome: str = "ok"
    headers: dict[str, str] = field(default_factory=lambda: JSON_HEADERS)


def common_headers(settings: Settings) -> dict[str, str]:
    """Default headers of every response."""
    if not settings.hsts_seconds:
        return dict(COMMON_HEADERS)
    hsts = f"max-age={settings.hsts_seconds}"
    return {**COMMON_HEADERS, "Strict-Transport-Security": hsts}


def encode(document: Any) -> bytes:
    """Encode a dumped schema as JSON."""
    return _encode(document).encode()


def assign_request_id(client_id: str | None) -> str:
    """Set the request's id: the client's own if it is safe, otherwise a new one.

    It is in all log lines of this thread or task, and in all jobs that it enqueues.
    """
    new_id = client_id if client_id and _REQUEST_ID.fullmatch(client_id) else new_request_id()
    request_id.set(new_id)
    return new_id


def new_request_id() -> str:
    """A random id, not set for logging."""
    return f"{getrandbits(64):016x}"
