"""Counts and times each request, and writes the access log.

A log line costs about 100 microseconds, nearly as much as a bid. By default bids and board
pages are therefore logged only when they failed on our side or were slow: the table `bids` has
every accepted bid anyway, and the metrics count the others by outcome.
"""

from http import HTTPStatus
from time import perf_counter

import structlog
from flask import Flask, Response, g, request

from core.config.web import AccessLogMode
from core.telemetry import metrics
from core.telemetry.logs import unbounded
from web.http.requests import LaneRequest
from web.http.responses import ApiResponse

log = structlog.get_logger(__name__)

BID_PATH = "/api/bid"
_BOARD_RULE = "/api/leaderboard/<session_id>"
SLOW_SECONDS = 1.0
_SERVER_ERROR = int(HTTPStatus.INTERNAL_SERVER_ERROR)
_UNMATCHED = "unmatched"
# The frequent requests of a flash sale.
_FREQUENT = frozenset({BID_PATH, _BOARD_RULE})
# Polled by load balancers and Prometheus.
_POLLED = frozenset({"/health", "/ready", "/metrics"})


def count_failures_from_zero(app: Flask) -> None:
    """Start each route's count of 500s at 0, so that Prometheus sees the first one as a rise."""
    routes = {
        _route(method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for route in routes | {_UNMATCHED}:
        metrics.REQUESTS.labels(route, _SERVER_ERROR)


class AccessLogWriter:
    """Records each request after its response."""

    def __init__(self, choice: AccessLogMode) -> None:
        self._logs_all = choice is AccessLogMode.ALL
        self._is_on = choice is not AccessLogMode.OFF
        self._log = unbounded(log) if self._logs_all else log

    def record_lane(self, request: LaneRequest, response: ApiResponse, seconds: float) -> None:
        """Record a bid or a board page, whether the lane or Flask received it."""
        counter = metrics.BIDS if request.path == BID_PATH else metrics.BOARD_LOOKS
        counter.add(response.outcome, seconds)
        if self._logs_all or _failed_or_slow(response.status, seconds):
            self._write(
                request.method,
                request.path,
                request.client,
                response.status,
                response.outcome,
                seconds,
            )

    def record(self, response: Response) -> Response:
        """Record another request. Unknown paths are logged as `unmatched`."""
        if "is_complete" in g:
            return response
        seconds = perf_counter() - g.started_at
        rule = request.url_rule.rule if request.url_rule else _UNMATCHED
        outcome = g.get("outcome", "ok")
        route = _route(request.method, rule) if request.url_rule else _UNMATCHED
        metrics.REQUESTS.labels(route, response.status_code).inc()
        metrics.REQUEST_SECONDS.labels(route).observe(seconds)
        if self._logs_all or _is_logged_by_default(rule, response.status_code, seconds):
            path = request.path if request.url_rule else _UNMATCHED
            client = request.environ.get("REMOTE_ADDR", "")
            self._write(request.method, path, client, response.status_code, outcome, seconds)
        return response

    def _write(
        self, method: str, path: str, client: str, status: int, outcome: str, seconds: float
    ) -> None:
        if self._is_on:
            self._log.info(
                "request",
                method=method,
                path=path,
                status=status,
                outcome=outcome,
                ms=round(seconds * 1000, 3),
                client=client,
            )


def _is_logged_by_default(rule: str, status: int, seconds: float) -> bool:
    """Whether ACCESS_LOG's default logs the request."""
    if rule in _FREQUENT:
        return _failed_or_slow(status, seconds)
    return rule not in _POLLED


def _failed_or_slow(status: int, seconds: float) -> bool:
    """Whether the request failed on our side or was slow."""
    return seconds >= SLOW_SECONDS or status >= _SERVER_ERROR


def _route(method: str, rule: str) -> str:
    return f"{method} {rule}"
