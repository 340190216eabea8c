"""Which pages of other origins may call the API; the same in the lane."""

from collections.abc import Callable
from typing import Any, cast

from flask import Flask
from flask_cors import CORS
from flask_cors.core import get_cors_headers, get_cors_options
from werkzeug.datastructures import Headers

_HEADERS_KEY = "flashbid_cors_headers"
_EXPOSED_HEADERS = ["X-Total-Count", "X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy"]
# As long as any browser remembers: a preflight costs as much as the look it asks for.
_PREFLIGHT_SECONDS = 7200

HeadersOf = Callable[[str | None], dict[str, str]]


def init_app(app: Flask, origins: tuple[str, ...]) -> None:
    """Let pages of these origins in."""
    if not origins:
        app.extensions[_HEADERS_KEY] = no_headers
        return
    options: dict[str, Any] = {
        "origins": list(origins),
        "expose_headers": _EXPOSED_HEADERS,
        "always_send": False,
        "max_age": _PREFLIGHT_SECONDS,
    }
    CORS(app, **options)
    computed = get_cors_options(app, options)

    def headers_of(origin: str | None) -> dict[str, str]:
        asked = Headers({"Origin": origin}) if origin else Headers()
        return {name: str(text) for name, text in get_cors_headers(computed, asked, "GET").items()}

    app.extensions[_HEADERS_KEY] = headers_of


def no_headers(_origin: str | None) -> dict[str, str]:
    """What is said to pages of other origins where none is let in."""
    return {}


def headers_of(app: Flask) -> HeadersOf:
    """Tells what an answer says to a page of an origin; preflights are Flask's alone."""
    return cast(HeadersOf, app.extensions[_HEADERS_KEY])
