"""Builds the Flask application."""

import sys
from collections.abc import Callable
from time import perf_counter

from click import get_current_context
from flask import Flask, Response, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from core.bootstrap import Services, bootstrap
from core.config import ConfigError, Settings, load_settings, secrets_of
from core.telemetry.logs import configure_logs, hide
from web import lane, state
from web.commands import api_keys as api_key_commands
from web.commands import archive as archive_command
from web.commands import exports as export_commands
from web.commands import members as member_commands
from web.commands import service as service_commands
from web.commands import simulations as simulation_command
from web.guards import rate_limits, tokens
from web.guards.problems import register_error_handlers
from web.http import cors
from web.http.access_log import AccessLogWriter, count_failures_from_zero
from web.http.body import MAX_BODY_BYTES
from web.http.responses import assign_request_id, common_headers
from web.routes import (
    accounts,
    admin,
    bidding,
    board_page,
    docs,
    exports,
    live,
    metrics,
    notifications,
    offers,
    service,
    webhooks,
)


def create_app(settings: Settings | None = None, *, services: Services | None = None) -> Flask:
    """The application. A missing or malformed setting exits with a message."""
    settings = settings or (services.settings if services else _load_settings())
    configure_logs(debug=settings.debug)
    hide(secrets_of(settings))

    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # Werkzeug would redirect to the spelling that it knows, at the Host that the client sent.
    app.url_map.strict_slashes = app.url_map.merge_slashes = False
    state.init_app(app, services or bootstrap(settings))

    access_log = AccessLogWriter(settings.access_log)
    app.before_request(_start_request)
    # Flask calls these in reverse order: the log sees the finished response.
    app.after_request(access_log.record)
    app.after_request(_header_adder(settings))
    tokens.init_app(app, settings)
    rate_limits.init_app(app, settings.limits)
    route_modules = (
        accounts,
        admin,
        bidding,
        exports,
        notifications,
        offers,
        live,
        service,
        metrics,
        docs,
        board_page,
        webhooks,
    )
    for module in route_modules:
        app.register_blueprint(module.blueprint)
    count_failures_from_zero(app)
    register_error_handlers(app)
    service_commands.register(app)
    member_commands.register(app)
    api_key_commands.register(app)
    archive_command.register(app)
    export_commands.register(app)
    simulation_command.register(app)
    cors.init_app(app, settings.cors_origins)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    lane.init_app(app, access_log)
    return app


def _load_settings() -> Settings:
    try:
        return load_settings()
    except ConfigError as error:
        if _is_help_requested():
            return load_settings({"DEBUG": "true"})
        raise SystemExit(f"Flashbid cannot start: {error}") from None


def _is_help_requested() -> bool:
    """Whether the command line asks for help, which must work without settings."""
    return get_current_context(silent=True) is not None and "--help" in sys.argv


def _start_request() -> None:
    g.started_at = perf_counter()
    g.request_id = assign_request_id(request.headers.get("X-Request-ID"))


def _header_adder(settings: Settings) -> Callable[[Response], Response]:
    headers = common_headers(settings)

    def add_headers(response: Response) -> Response:
        response.headers.setdefault("X-Request-ID", g.get("request_id", ""))
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        rate_limits.add_headers(response)
        return response

    return add_headers
