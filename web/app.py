"""Builds the Flask application."""

import re
from random import getrandbits

from flask import Flask, Response, g, request
from flask_cors import CORS

from core.bootstrap import Services, bootstrap
from core.config import ConfigError, Settings, load_settings
from core.logs import configure_logs
from web import admin, auth, bidding, commands, docs, service, tokens
from web.body import MAX_BODY_BYTES
from web.errors import register_error_handlers
from web.live import handing_in
from web.state import STATE_KEY

_EXPOSED_HEADERS = ["X-Total-Count", "X-Request-ID", "Retry-After"]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def create_app(settings: Settings | None = None, *, services: Services | None = None) -> Flask:
    """The application. Stops with a sentence when a setting is missing or malformed."""
    try:
        settings = settings or (services.settings if services else load_settings())
    except ConfigError as error:
        raise SystemExit(f"Flashbid cannot start: {error}") from None
    configure_logs(debug=settings.debug)

    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.extensions[STATE_KEY] = services or bootstrap(settings)

    app.before_request(_name_request)
    app.after_request(_finish_response)
    tokens.init_app(app, settings)
    for area in (auth, admin, bidding, service, docs, handing_in):
        app.register_blueprint(area.blueprint)
    register_error_handlers(app)
    commands.register(app)
    if settings.cors_origins:
        CORS(app, origins=list(settings.cors_origins), expose_headers=_EXPOSED_HEADERS)
    return app


def _name_request() -> None:
    """Give the request an id: the caller's own when it is harmless."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else f"{getrandbits(64):016x}"


def _finish_response(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    return response
