"""The express lane: the two requests of a flash are answered without a way through Flask.

Routing, contexts, hooks and header objects cost more than all the work on a bid or on a
page of the board. So a request that is nothing but a bid, or nothing but a look at a
board's first page, is taken in front of Flask, with the same verifier, schemas, core calls
and error table as its route in web/bidding.py. Everything else, and anything unusual, goes
on to Flask, which remains the rule. Tests send each kind of request both ways and compare
the answers byte for byte.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from time import perf_counter
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask

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

Handler = Callable[[WSGIEnvironment], Answer]


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
        handler = self.handler_of(environ)
        if handler is None:
            return self._flask(environ, start_response)
        started_at = perf_counter()
        request_id = name_request(environ)
        try:
            answer = handler(environ)
        except Exception as error:  # noqa: BLE001 - the table knows an answer to each
            answer = answer_to(error, request_id=request_id, path=environ["PATH_INFO"])
        headers = {**answer.headers, "X-Request-ID": request_id, **self._common_headers}
        headers |= self._cors_headers_of(environ.get("HTTP_ORIGIN"))
        headers["Content-Length"] = str(len(answer.body))
        self._access_log.note_express(environ, answer, perf_counter() - started_at)
        start_response(_STATUS_LINES[answer.status], list(headers.items()))
        return [answer.body]

    def handler_of(self, environ: WSGIEnvironment) -> Handler | None:
        """Who answers this request; None when Flask does."""
        path = environ["PATH_INFO"]
        if path == BID_PATH:
            return self._place_bid if _is_plain_bid(environ) else None
        if len(path) == _BOARD_PATH_LENGTH and path.startswith(BOARD_PREFIX):
            return self._show_board if _is_plain_look(environ) else None
        return None

    def _place_bid(self, environ: WSGIEnvironment) -> Answer:
        # Before anything can be refused: an unread body would be taken for a request.
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        claims = self._verifier.claims(environ.get("HTTP_AUTHORIZATION", ""))
        bid = self._bid_request.load(decode(body))
        placed = self._bidding.place(bidder_of(claims), **bid, schedule_drain=enqueue.drain)
        return Answer(encode(self._placed_bid.dump(placed)), outcome=placed.outcome)

    def _show_board(self, environ: WSGIEnvironment) -> Answer:
        session_id = path_id("session_id", environ["PATH_INFO"][len(BOARD_PREFIX) :])
        return Answer(self._board_pages.page(session_id, **self._first_page))


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
