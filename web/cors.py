"""Which pages of other origins may call the API; the same in the express lane."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

from flask import Flask
from flask_cors import CORS
from flask_cors.core import get_cors_headers, get_cors_options
from werkzeug.datastructures import Headers

_HEADERS_KEY = "flashbid_cors_headers"
_EXPOSED_HEADERS = ["X-Total-Count", "X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy"]
_REMEMBERED_ORIGINS = 1000

HeadersOf = Callable[[str | None], dict[str, str]]


def init_app(app: Flask, origins: tuple[str, ...]) -> None:
    """Let pages of these origins in."""
    if not origins:
        app.extensions[_HEADERS_KEY] = lambda _: {}
        return
    options: dict[str, Any] = {
        "origins": list(origins),
        "expose_headers": _EXPOSED_HEADERS,
        "always_send": False,
    }
    CORS(app, **options)
    computed = get_cors_options(app, options)

    @lru_cache(_REMEMBERED_ORIGINS)
    def headers_of(origin: str | None) -> dict[str, str]:
        asked = Headers({"Origin": origin}) if origin else Headers()
        return {name: str(text) for name, text in get_cors_headers(computed, asked, "GET").items()}

    app.extensions[_HEADERS_KEY] = headers_of


def headers_of(app: Flask) -> HeadersOf:
    """Tells what an answer says to a page of an origin; preflights are Flask's alone."""
    return cast(HeadersOf, app.extensions[_HEADERS_KEY])
