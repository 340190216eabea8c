"""Builds the Flask application."""

from time import perf_counter

from flask import Flask, Response, g, request
from flask_cors import CORS

from core.bootstrap import Services, bootstrap
from core.config import ConfigError, Settings, load_settings
from core.logs import configure_logs
from web import (
    admin,
    auth,
    bidding,
    commands,
    docs,
    metrics,
    notifications,
    page,
    service,
    state,
    tokens,
)
from web.access import AccessLog
from web.answers import COMMON_HEADERS, name_request
from web.body import MAX_BODY_BYTES
from web.errors import register_error_handlers
from web.express import ExpressLane
from web.live import handing_in

_EXPOSED_HEADERS = ["X-Total-Count", "X-Request-ID", "Retry-After"]


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
    state.init_app(app, services or bootstrap(settings))

    access_log = AccessLog(settings.access_log)
    app.before_request(_name_request)
    # The last one that is registered is the first to see the response.
    app.after_request(access_log.note)
    app.after_request(_finish_response)
    tokens.init_app(app, settings)
    areas = (auth, admin, bidding, notifications, service, metrics, docs, page, handing_in)
    for area in areas:
        app.register_blueprint(area.blueprint)
    register_error_handlers(app)
    commands.register(app)
    if settings.cors_origins:
        CORS(app, origins=list(settings.cors_origins), expose_headers=_EXPOSED_HEADERS)
    app.wsgi_app = ExpressLane(app, access_log, cors=bool(settings.cors_origins))  # type: ignore[method-assign]
    return app


def _name_request() -> None:
    g.started_at = perf_counter()
    g.request_id = name_request(request.environ)


def _finish_response(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    for name, value in COMMON_HEADERS.items():
        response.headers.setdefault(name, value)
    return response
