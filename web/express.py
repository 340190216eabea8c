"""The express lane: plain bids are answered without a way through Flask.

Routing, contexts, hooks and header objects cost twice what all the work on a bid does.
So a request that is nothing but a bid (see `takes`) is taken in front of Flask,
with the same verifier, schemas, core call and error table as the route in web/bidding.py;
everything else, and anything unusual, goes on to Flask, which remains the rule. Tests
send each kind of bid both ways and compare the answers byte for byte.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask

from web import schemas
from web.answers import COMMON_HEADERS, Answer, encode, request_id_of
from web.body import MAX_BODY_BYTES, decode
from web.errors import answer_to
from web.state import services_of
from web.tokens import bidder_of, verifier_of
from worker import enqueue

BID_PATH = "/api/bid"
_JSON = frozenset({"application/json", "application/json; charset=utf-8"})
_STATUS_LINES = {status.value: f"{status.value} {status.phrase.upper()}" for status in HTTPStatus}


class ExpressLane:
    """WSGI middleware in front of Flask."""

    def __init__(self, app: Flask, *, cors: bool) -> None:
        self._flask = app.wsgi_app
        self._cors = cors
        self._verifier = verifier_of(app)
        self._bidding = services_of(app).bidding
        self._request = schemas.BidRequest()
        self._answer = schemas.PlacedBid()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self.takes(environ):
            return self._flask(environ, start_response)
        request_id = request_id_of(environ)
        try:
            answer = self._place_bid(environ)
        except Exception as error:  # noqa: BLE001 - the table knows an answer to each
            answer = answer_to(error, request_id=request_id, path=BID_PATH)
        headers = {**answer.headers, "X-Request-ID": request_id, **COMMON_HEADERS}
        headers["Content-Length"] = str(len(answer.body))
        start_response(_STATUS_LINES[answer.status], list(headers.items()))
        return [answer.body]

    def takes(self, environ: WSGIEnvironment) -> bool:
        """Whether it is a POST of JSON, of stated and moderate length, with no origin to judge."""
        if environ["PATH_INFO"] != BID_PATH:
            return False
        length = environ.get("CONTENT_LENGTH", "")
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") in _JSON
            and length.isascii()
            and length.isdigit()
            and int(length) <= MAX_BODY_BYTES
            and not (self._cors and "HTTP_ORIGIN" in environ)
        )

    def _place_bid(self, environ: dict[str, Any]) -> Answer:
        # Before anything can be refused: an unread body would be taken for a request.
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        claims = self._verifier.claims(environ.get("HTTP_AUTHORIZATION", ""))
        bid = self._request.load(decode(body))
        placed = self._bidding.place(bidder_of(claims), **bid, schedule_drain=enqueue.drain)
        return Answer(encode(self._answer.dump(placed)))
