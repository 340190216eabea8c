"""The lane: handles bids and board pages without Flask.

Flask's routing, contexts, hooks and headers cost more than the work on a bid or a board page.
Each of the two has one handler here. Under an ASGI server it runs in the event loop; Flask's
routes for the two (web/routes/bidding.py) call it too, so that the API is complete under any
WSGI server.
"""

from collections.abc import Awaitable, Callable
from functools import lru_cache, wraps
from http import HTTPStatus
from time import perf_counter
from typing import Any, cast
from urllib.parse import parse_qsl

from flask import Flask, Response, current_app, g, request

from core import errors
from core.telemetry import metrics
from web.guards.operation import Operation, View, path_id
from web.guards.problems import error_response, problem_of
from web.guards.rate_limits import network_of
from web.guards.tokens import bidder_of, verifier_of
from web.http import body, cors
from web.http.access_log import BID_PATH, AccessLogWriter
from web.http.body import require_json
from web.http.buckets import Buckets
from web.http.fast_json import read_bid, write_placed
from web.http.requests import LaneRequest, RawResponse, Scope, encode_headers
from web.http.responses import JSON_HEADERS, ApiResponse, assign_request_id, common_headers
from web.http.schemas import PageQuery
from web.state import board_pages_of, services, services_of
from worker import enqueue

BOARD_PREFIX = "/api/leaderboard/"
_BOARD_PATH_LENGTH = len(BOARD_PREFIX) + 36
_CACHED_ORIGINS = 1000
_LANE_KEY = "flashbid_lane"

Handler = Callable[[LaneRequest], Awaitable[ApiResponse]]


class Lane:
    """Handles bids and board pages of one application."""

    def __init__(self, app: Flask, access_log: AccessLogWriter) -> None:
        app_services = services_of(app)
        self._access_log = access_log
        self._common_head = encode_headers(common_headers(app_services.settings).items())
        self._json_head = encode_headers(JSON_HEADERS.items()) + self._common_head
        self._cors_head_of = lru_cache(_CACHED_ORIGINS)(
            lambda origin: encode_headers(cors.headers_of(app)(origin).items())
        )
        self._verifier = verifier_of(app)
        self._bidding = app_services.bidding
        self._background = app_services.runtime.background
        self._board_pages = board_pages_of(app)
        self._trusted_proxies = app_services.settings.trusted_proxies
        self._refused_bids = Buckets(
            "refused-bids",
            app_services.settings.limits.refused_bids_per_minute,
            errors.RateLimited,
        )
        self._page_query = PageQuery()
        self._first_page = self._page_query.load({})

    def handler_for(self, scope: Scope) -> Handler | None:
        """The handler for this request; None when Flask handles it."""
        path = scope["path"]
        if path == BID_PATH:
            return self.place_bid if scope["method"] == "POST" else None
        if path.startswith(BOARD_PREFIX) and len(path) == _BOARD_PATH_LENGTH:
            return self.show_board if scope["method"] == "GET" else None
        return None

    async def respond(self, handler: Handler, request: LaneRequest) -> RawResponse:
        """The complete response with all headers. Counts and logs the request."""
        started_at = perf_counter()
        request_id = assign_request_id(request.header(b"x-request-id"))
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - every error has a response
            client = request.address(self._trusted_proxies)
            response = error_response(
                error, request_id=request_id, path=request.path, client=client
            )
        self._access_log.record_lane(request, response, perf_counter() - started_at)
        return self.finish(response, request_id, request.headers.get(b"origin"))

    def finish(self, response: ApiResponse, request_id: str, origin: bytes | None) -> RawResponse:
        """Add the common headers."""
        body = response.body
        if response.headers is JSON_HEADERS:
            head = self._json_head
        else:
            head = encode_headers(response.headers.items()) + self._common_head
        head += b"x-request-id: %b\r\ncontent-length: %d\r\n" % (request_id.encode(), len(body))
        if origin is not None:
            head += self._cors_head_of(origin.decode("latin-1"))
        return RawResponse(response.status, head, body)

    async def place_bid(self, request: LaneRequest) -> ApiResponse:
        """Place a bid."""
        metrics.BID_DOORS.counts[request.door] += 1
        claims = self._verifier.claims(request.header(b"authorization"))
        bidder = bidder_of(claims)
        self._refused_bids.require(bidder.id_text)
        try:
            require_json(request.header(b"content-type"), request.header(b"content-encoding"))
            session_id, price, only_if_better = read_bid(request.body)
            placed = await self._bidding.bid(
                bidder, session_id, price, only_if_better=only_if_better
            )
        except Exception as error:
            if problem_of(type(error)).status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._refused_bids.take(bidder.id_text)
            raise
        if placed.replayed:
            self._refused_bids.take(bidder.id_text)
        if placed.drain_due:
            self._background.start(enqueue.drain, placed.session_id)
        return ApiResponse(write_placed(placed), outcome=placed.outcome)

    async def show_board(self, request: LaneRequest) -> ApiResponse:
        """Show a page of a session's board."""
        session_id = path_id("session_id", request.path[len(BOARD_PREFIX) :])
        page = (
            self._page_query.load(_arguments(request.query)) if request.query else self._first_page
        )
        reader = network_of(request.address(self._trusted_proxies))
        return ApiResponse(await self._board_pages.read(session_id, **page, reader=reader))


def init_app(app: Flask, access_log: AccessLogWriter) -> None:
    """Create the application's lane. Call last: it needs all other parts."""
    app.extensions[_LANE_KEY] = Lane(app, access_log)


def lane_of(app: Flask) -> Lane:
    """The lane of an application."""
    return cast(Lane, app.extensions[_LANE_KEY])


def lane_route(**declared: Any) -> Callable[[View], View]:
    """Declare a route that the lane handles. Its view returns the lane's handler."""
    declaration = Operation(**declared)

    def decorate(view: View) -> View:
        @wraps(view)
        def endpoint(**_: str) -> Response:
            lane = lane_of(current_app)
            lane_request = LaneRequest(
                request.method,
                request.path,
                request.query_string,
                request.remote_addr or "",
                {name.lower().encode(): text.encode("latin-1") for name, text in request.headers},
                body.read(request, declaration.max_body_bytes),
                "flask",
            )
            response = services().runtime.loop.run(lane.respond(view(lane), lane_request))
            g.is_complete = True
            headers = [(name.decode(), text.decode("latin-1")) for name, text in response.headers]
            return Response(response.body, response.status, headers)

        endpoint.operation = declaration  # type: ignore[attr-defined]
        return endpoint

    return decorate


def _arguments(query: bytes) -> dict[str, str]:
    """A query's arguments; the first of repeated ones."""
    pairs = parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True)
    return dict(reversed(pairs))
