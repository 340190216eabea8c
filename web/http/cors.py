"""CORS: the origins whose pages may call the API, for Flask and for the lane."""

import re
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Flask
from flask_cors import CORS
from flask_cors.core import get_cors_headers, get_cors_options
from werkzeug.datastructures import Headers

_HEADERS_KEY = "flashbid_cors_headers"
_EXPOSED_HEADERS = [
    "X-Total-Count",
    "X-Request-ID",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "Idempotency-Replayed",
]
# The longest that browsers accept: a preflight costs as much as its request.
_PREFLIGHT_SECONDS = 7200
_DEFAULT_PORTS = {"http": 80, "https": 443}

HeadersOf = Callable[[str | None], dict[str, str]]


def init_app(app: Flask, origins: tuple[str, ...]) -> None:
    """Allow pages of these origins."""
    if not origins:
        app.extensions[_HEADERS_KEY] = no_headers
        return
    options: dict[str, Any] = {
        "origins": [_literal(origin) for origin in origins],
        "expose_headers": _EXPOSED_HEADERS,
        "always_send": False,
        "max_age": _PREFLIGHT_SECONDS,
    }
    CORS(app, **options)
    computed = get_cors_options(app, options)

    def headers_of(origin: str | None) -> dict[str, str]:
        request_headers = Headers({"Origin": origin}) if origin else Headers()
        return {
            name: str(text)
            for name, text in get_cors_headers(computed, request_headers, "GET").items()
        }

    app.extensions[_HEADERS_KEY] = headers_of


def _literal(origin: str) -> str | re.Pattern[str]:
    """flask-cors takes an origin with brackets for a regular expression; `*` allows all."""
    return re.compile(rf"{re.escape(origin)}\Z") if "[" in origin else origin


def may_connect(origin: str, host: str, origins: tuple[str, ...]) -> bool:
    """Whether a page of this origin may open a WebSocket, which CORS does not cover. `host`: the
    handshake's Host header. Clients that are no browsers send no origin, and may.
    """
    if not origin or "*" in origins or origin.lower() in map(str.lower, origins):
        return True
    scheme = origin.partition("://")[0].lower()
    place = _place_of(origin)
    return place is not None and place == _place_of(f"{scheme}://{host}")


def _place_of(url: str) -> tuple[str, int | None] | None:
    """Host and port. None for what has no host, such as the origin "null"."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (host, port or _DEFAULT_PORTS.get(parts.scheme)) if host else None


def no_headers(_origin: str | None) -> dict[str, str]:
    """No CORS headers, for when no origin is allowed."""
    return {}


def headers_of(app: Flask) -> HeadersOf:
    """A function from origin to response headers. Flask handles preflights."""
    return cast(HeadersOf, app.extensions[_HEADERS_KEY])
