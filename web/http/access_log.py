"""What became of each request: counted, timed, and written to the access log.

A line costs about a hundred microseconds, nearly as much as the bid. So the default writes none for
the two requests of a flash, bids and board pages, unless they failed on our side or took
long: `bids` keeps every accepted bid anyway, and the metrics count the others by outcome.
"""

from http import HTTPStatus
from time import perf_counter

import structlog
from flask import Flask, Response, g, request

from core.config.web import AccessLogMode
from core.telemetry import metrics
from web.http.answers import Answer
from web.http.requests import Request as LaneRequest

log = structlog.get_logger(__name__)

BID_PATH = "/api/bid"
_BOARD_RULE = "/api/leaderboard/<session_id>"
SLOW_SECONDS = 1.0
_UNMATCHED = "unmatched"
# The two requests of a flash, whichever way they come.
_FLASH = frozenset({BID_PATH, _BOARD_RULE})
# Balancers and Prometheus ask them all day long.
_ROUTINE = frozenset({"/health", "/ready", "/metrics"})


def count_failures_from_zero(app: Flask) -> None:
    """From a route's first 500 on Prometheus must see them rise, so each begins at 0."""
    routes = {
        _route(method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for route in routes | {_UNMATCHED}:
        metrics.REQUESTS.labels(route, HTTPStatus.INTERNAL_SERVER_ERROR.value)


class AccessLog:
    """Notes every request, once it is answered."""

    def __init__(self, choice: AccessLogMode) -> None:
        self._all = choice is AccessLogMode.ALL
        self._on = choice is not AccessLogMode.OFF

    def note_lane(self, request: LaneRequest, answer: Answer, seconds: float) -> None:
        """A bid or a board page, by whichever door it came."""
        tally = metrics.BIDS if request.path == BID_PATH else metrics.BOARD_LOOKS
        tally.add(answer.outcome, seconds)
        if self._all or _is_notable(answer.status, seconds):
            self._write(
                request.method, request.path, request.client, answer.status, answer.outcome, seconds
            )

    def note(self, response: Response) -> Response:
        """The answer of one of Flask's routes. Its path is shown only when it is a known one."""
        if "is_complete" in g:
            return response
        seconds = perf_counter() - g.started_at
        rule = request.url_rule.rule if request.url_rule else _UNMATCHED
        outcome = g.get("outcome", "ok")
        route = _route(request.method, rule) if request.url_rule else _UNMATCHED
        metrics.REQUESTS.labels(route, response.status_code).inc()
        metrics.REQUEST_SECONDS.labels(route).observe(seconds)
        if self._all or _is_told(rule, response.status_code, seconds):
            path = request.path if request.url_rule else _UNMATCHED
            client = request.environ.get("REMOTE_ADDR", "")
            self._write(request.method, path, client, response.status_code, outcome, seconds)
        return response

    def _write(
        self, method: str, path: str, client: str, status: int, outcome: str, seconds: float
    ) -> None:
        if self._on:
            log.info(
                "request",
                method=method,
                path=path,
                status=status,
                outcome=outcome,
                ms=round(seconds * 1000, 3),
                client=client,
            )


def _is_told(rule: str, status: int, seconds: float) -> bool:
    """Whether a line is written for it by default."""
    if rule in _FLASH:
        return _is_notable(status, seconds)
    return rule not in _ROUTINE


def _is_notable(status: int, seconds: float) -> bool:
    """Whether it failed on our side or took long."""
    return seconds >= SLOW_SECONDS or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _route(method: str, rule: str) -> str:
    return f"{method} {rule}"
