"""CORS: the origins whose pages may call the API, for Flask and for the lane."""

import re
from collections.abc import Callable
from typing import Any, cast

from flask import Flask
from flask_cors import CORS
from flask_cors.core import get_cors_headers, get_cors_options
from werkzeug.datastructures import Headers

_HEADERS_KEY = "flashbid_cors_headers"
_EXPOSED_HEADERS = ["X-Total-Count", "X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy"]
# The longest that browsers accept: a preflight costs as much as its request.
_PREFLIGHT_SECONDS = 7200

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


def no_headers(_origin: str | None) -> dict[str, str]:
    """No CORS headers, for when no origin is allowed."""
    return {}


def headers_of(app: Flask) -> HeadersOf:
    """A function from origin to response headers. Flask handles preflights."""
    return cast(HeadersOf, app.extensions[_HEADERS_KEY])
