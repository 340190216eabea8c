"""The express lane: the two requests of a flash are answered without a way through Flask.

Routing, contexts, hooks and header objects cost more than all the work on a bid or on a
page of the board. So a request that is nothing but a bid, or nothing but a look at a
board's first page, is taken in front of Flask, with the same verifier, schemas, core calls
and error table as its route in web/bidding.py. Everything else, and anything unusual, goes
on to Flask, which remains the rule. Tests send each kind of request both ways and compare
the answers byte for byte.

An answer is made in steps (core/steps.py): under our own gunicorn worker the main loop
takes those of many requests at once (web/flash_worker.py), elsewhere the request's own thread.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask

from core.steps import Router, Steps, run
from web import cors, schemas
from web.access import BID_PATH, AccessLog
from web.answers import Answer, common_headers, encode, name_request
from web.body import MAX_BODY_BYTES, decode
from web.errors import answer_to
from web.operation import path_id
from web.state import board_pages_of, services_of
from web.tokens import bidder_of, verifier_of
from worker import enqueue

BOARD_PREFIX = "/api/leaderboard/"
_BOARD_PATH_LENGTH = len(BOARD_PREFIX) + 36
_JSON = frozenset({"application/json", "application/json; charset=utf-8"})
_STATUS_LINES = {status.value: f"{status.value} {status.phrase.upper()}" for status in HTTPStatus}

Handler = Callable[[WSGIEnvironment], Steps[Answer]]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it goes out."""

    status: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """A response to be, in steps, and what carries their commands to Redis."""

    steps: Steps[Response]
    calls: Router


class ExpressLane:
    """WSGI middleware in front of Flask."""

    def __init__(self, app: Flask, access_log: AccessLog) -> None:
        self._access_log = access_log
        self._flask = app.wsgi_app
        self._cors_headers_of = cors.headers_of(app)
        self._common_headers = common_headers(services_of(app).settings)
        self._verifier = verifier_of(app)
        self._bidding = services_of(app).bidding
        self._board_pages = board_pages_of(app)
        self._bid_request = schemas.BidRequest()
        self._placed_bid = schemas.PlacedBid()
        self._first_page = schemas.PageQuery().load({})

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        work = self.work_on(environ)
        if work is None:
            return self._flask(environ, start_response)
        response = run(work.steps, work.calls)
        start_response(response.status, list(response.headers.items()))
        return [response.body]

    def work_on(self, environ: WSGIEnvironment) -> Work | None:
        """What answers this request; None when Flask does."""
        path = environ["PATH_INFO"]
        if path == BID_PATH:
            if _is_plain_bid(environ):
                return Work(self._respond(self._place_bid, environ), self._bidding.calls)
        elif (
            len(path) == _BOARD_PATH_LENGTH
            and path.startswith(BOARD_PREFIX)
            and _is_plain_look(environ)
        ):
            return Work(self._respond(self._show_board, environ), self._board_pages.calls)
        return None

    def _respond(self, handler: Handler, environ: WSGIEnvironment) -> Steps[Response]:
        started_at = perf_counter()
        request_id = name_request(environ)
        try:
            answer = yield from handler(environ)
        except Exception as error:  # noqa: BLE001 - the table knows an answer to each
            answer = answer_to(error, request_id=request_id, path=environ["PATH_INFO"])
        headers = {**answer.headers, "X-Request-ID": request_id, **self._common_headers}
        headers |= self._cors_headers_of(environ.get("HTTP_ORIGIN"))
        headers["Content-Length"] = str(len(answer.body))
        self._access_log.note_express(environ, answer, perf_counter() - started_at)
        return Response(_STATUS_LINES[answer.status], headers, answer.body)

    def _place_bid(self, environ: WSGIEnvironment) -> Steps[Answer]:
        # Before anything can be refused: an unread body would be taken for a request.
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        claims = self._verifier.claims(environ.get("HTTP_AUTHORIZATION", ""))
        bid = self._bid_request.load(decode(body))
        placed = yield from self._bidding.steps(
            bidder_of(claims), **bid, schedule_drain=enqueue.drain
        )
        return Answer(encode(self._placed_bid.dump(placed)), outcome=placed.outcome)

    def _show_board(self, environ: WSGIEnvironment) -> Steps[Answer]:
        session_id = path_id("session_id", environ["PATH_INFO"][len(BOARD_PREFIX) :])
        body = yield from self._board_pages.steps(session_id, **self._first_page)
        return Answer(body)


def _is_plain_bid(environ: WSGIEnvironment) -> bool:
    """A POST of JSON of stated and moderate length."""
    length = environ.get("CONTENT_LENGTH", "")
    return (
        environ["REQUEST_METHOD"] == "POST"
        and environ.get("CONTENT_TYPE") in _JSON
        and length.isascii()
        and length.isdigit()
        and int(length) <= MAX_BODY_BYTES
    )


def _is_plain_look(environ: WSGIEnvironment) -> bool:
    """A GET of the page that is shown unasked, without a body."""
    return (
        environ["REQUEST_METHOD"] == "GET"
        and not environ.get("QUERY_STRING")
        and not environ.get("CONTENT_LENGTH")
        and "HTTP_TRANSFER_ENCODING" not in environ
    )
