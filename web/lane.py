"""The lane: bids and boards without a way through Flask.

Routing, contexts, hooks and header objects cost more than all the work on a bid or on a
page of the board. Each of the two has one handler here, and both doors use it: under an
ASGI server it answers in the event loop; Flask's own routes for the two (web/routes/bidding.py)
have it answer, too, so that the API is whole under any WSGI server.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache, wraps
from time import perf_counter
from typing import Any, cast
from urllib.parse import parse_qsl

from flask import Flask, current_app, g, request
from flask import Response as FlaskResponse

from core.telemetry import metrics
from web.guards.operation import Operation, View, path_id
from web.guards.problems import answer_to
from web.guards.tokens import bidder_of, verifier_of
from web.http import body, cors
from web.http.access_log import BID_PATH, AccessLog
from web.http.answers import JSON_HEADERS, Answer, common_headers, name_request
from web.http.body import require_json
from web.http.fast_json import read_bid, write_placed
from web.http.requests import Headers, Request, Response, Scope
from web.http.schemas import PageQuery
from web.state import board_pages_of, services, services_of
from worker import enqueue

BOARD_PREFIX = "/api/leaderboard/"
_BOARD_PATH_LENGTH = len(BOARD_PREFIX) + 36
_REMEMBERED_ORIGINS = 1000
_LANE_KEY = "flashbid_lane"

Handler = Callable[[Request], Awaitable[Answer]]


class Lane:
    """Answers bids and board pages of one application."""

    def __init__(self, app: Flask, access_log: AccessLog) -> None:
        own = services_of(app)
        self._access_log = access_log
        self._json_headers = _as_bytes(JSON_HEADERS)
        self._common_headers = _as_bytes(common_headers(own.settings))
        self._cors_headers_of = lru_cache(_REMEMBERED_ORIGINS)(
            lambda origin: _as_bytes(cors.headers_of(app)(origin))
        )
        self._verifier = verifier_of(app)
        self._bidding = own.bidding
        self._background = own.runtime.background
        self._board_pages = board_pages_of(app)
        self._page_query = PageQuery()
        self._first_page = self._page_query.load({})

    def handler_of(self, scope: Scope) -> Handler | None:
        """Who answers this request; None when Flask does."""
        path = scope["path"]
        if path == BID_PATH:
            return self.place_bid if scope["method"] == "POST" else None
        if path.startswith(BOARD_PREFIX) and len(path) == _BOARD_PATH_LENGTH:
            return self.show_board if scope["method"] == "GET" else None
        return None

    async def answer(self, handler: Handler, request: Request) -> Response:
        """The whole answer, with id and headers; counted and logged."""
        started_at = perf_counter()
        request_id = name_request(request.header(b"x-request-id"))
        try:
            answer = await handler(request)
        except Exception as error:  # noqa: BLE001 - the table knows an answer to each
            answer = answer_to(error, request_id=request_id, path=request.path)
        self._access_log.note_lane(request, answer, perf_counter() - started_at)
        return self.complete(answer, request_id, request.headers.get(b"origin"))

    def complete(self, answer: Answer, request_id: str, origin: bytes | None) -> Response:
        """An answer with the headers that all have."""
        own = answer.headers
        headers = [
            *(self._json_headers if own is JSON_HEADERS else _as_bytes(own)),
            *self._common_headers,
            (b"x-request-id", request_id.encode()),
            (b"content-length", b"%d" % len(answer.body)),
        ]
        if origin is not None:
            headers += self._cors_headers_of(origin.decode("latin-1"))
        return Response(answer.status, headers, answer.body)

    async def place_bid(self, request: Request) -> Answer:
        """A bid."""
        metrics.BID_DOORS.counts[request.door] += 1
        claims = self._verifier.claims(request.header(b"authorization"))
        require_json(request.header(b"content-type"))
        session_id, price = read_bid(request.body)
        placed = await self._bidding.bid(bidder_of(claims), session_id, price)
        if placed.drain_due:
            self._background.start(enqueue.drain, session_id)
        return Answer(write_placed(placed), outcome=placed.outcome)

    async def show_board(self, request: Request) -> Answer:
        """A page of a session's board."""
        session_id = path_id("session_id", request.path[len(BOARD_PREFIX) :])
        page = (
            self._page_query.load(_arguments(request.query)) if request.query else self._first_page
        )
        return Answer(await self._board_pages.read(session_id, **page))


def init_app(app: Flask, access_log: AccessLog) -> None:
    """Give the application its lane, which stands on all the rest."""
    app.extensions[_LANE_KEY] = Lane(app, access_log)


def lane_of(app: Flask) -> Lane:
    """The lane of an application."""
    return cast(Lane, app.extensions[_LANE_KEY])


def by_lane(**declared: Any) -> Callable[[View], View]:
    """Declare a route that the lane answers. Its view says by which of the lane's handlers."""
    declaration = Operation(**declared)

    def decorate(view: View) -> View:
        @wraps(view)
        def endpoint(**_: str) -> FlaskResponse:
            lane = lane_of(current_app)
            asked = Request(
                request.method,
                request.path,
                request.query_string,
                request.remote_addr or "",
                {name.lower().encode(): text.encode("latin-1") for name, text in request.headers},
                body.read(request),
                "flask",
            )
            answered = services().runtime.loop.run(lane.answer(view(lane), asked))
            g.is_complete = True
            headers = [(name.decode(), text.decode("latin-1")) for name, text in answered.headers]
            return FlaskResponse(answered.body, answered.status, headers)

        endpoint.operation = declaration  # type: ignore[attr-defined]
        return endpoint

    return decorate


def _arguments(query: bytes) -> dict[str, str]:
    """A query's arguments; of one that is given twice, the first."""
    pairs = parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True)
    return dict(reversed(pairs))


def _as_bytes(headers: Mapping[str, str]) -> Headers:
    return [(name.lower().encode(), text.encode("latin-1")) for name, text in headers.items()]
