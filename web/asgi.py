"""The ASGI application, `create_asgi_app()`; gunicorn serves it with `web.front.server.Worker`.

The lane handles bids and boards in the event loop, the bridge passes other requests to
Flask's threads, and `Watchers` serves WebSockets.
"""

import asyncio
from http import HTTPStatus

import structlog
from flask import Flask

from core.config import unknown_settings
from web.app import create_app
from web.front.bridge import Bridge
from web.front.overload import LoadShedder, Overloaded
from web.front.sockets import Watchers
from web.guards.operation import body_limits
from web.http.body import MAX_BODY_BYTES
from web.http.requests import (
    SEND_WHOLE,
    ClientGone,
    RawResponse,
    Receive,
    Scope,
    Send,
    lane_request,
    linger,
    read_body,
)
from web.http.responses import assign_request_id
from web.lane import lane_of
from web.state import board_pages_of, results_pages_of, services_of

# A client that asks too much or too often, or that is shed, waits for its refusal: otherwise its
# connection could ask again at once. No thread waits with it.
REFUSAL_DELAY_SECONDS = 0.2
_DELAYED_STATUSES = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.TOO_MANY_REQUESTS)

log = structlog.get_logger(__name__)


def create_asgi_app(app: Flask | None = None) -> "Application":
    """The application around `app`, or around a new one. Opens no connection yet."""
    if app is None:
        app = create_app()
        for name, likely in unknown_settings().items():
            log.warning("setting_unknown", setting=name, likely=likely)
    return Application(app)


class Application:
    """Flask, the lane and the watchers as one ASGI application."""

    def __init__(self, app: Flask) -> None:
        services = services_of(app)
        settings = services.settings
        self._runtime = services.runtime
        self._lane = lane_of(app)
        self._shedder = LoadShedder()
        self._body_limits = body_limits(app)
        self._app, self._settings = app, settings
        self._watchers = Watchers(
            services,
            board_pages_of(app),
            results_pages_of(app),
            max_watchers=settings.live_max_watchers,
        )
        self._bridge: Bridge | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            handler = self._lane.handler_for(scope)
            max_bytes = self._body_limits.get(scope["path"], MAX_BODY_BYTES)
            try:
                body, is_read_to_end = await read_body(receive, max_bytes)
            except ClientGone:
                return
            if handler is not None:
                response = await self._lane.respond(handler, lane_request(scope, body))
            else:
                response = await self._respond_with_flask(scope, body)
            if response.status in _DELAYED_STATUSES:
                await asyncio.sleep(REFUSAL_DELAY_SECONDS)
            send_whole = scope.get("extensions", {}).get(SEND_WHOLE) if is_read_to_end else None
            if response.pieces is not None:
                await _send_pieces(response, receive, send)
            elif send_whole is not None:
                await send_whole(response)
            else:
                await _send_response(response, receive, send, is_read_to_end=is_read_to_end)
        elif scope["type"] == "websocket":
            await self._watchers.serve(scope, receive, send)
        else:
            await self._lifespan(receive, send)

    async def _respond_with_flask(self, scope: Scope, body: bytes | None) -> RawResponse:
        assert self._bridge is not None  # noqa: S101 - set at startup
        try:
            return await self._bridge.respond(scope, body)
        except Overloaded:
            await asyncio.sleep(REFUSAL_DELAY_SECONDS)
            headers = dict(scope["headers"])
            request_id = assign_request_id(headers.get(b"x-request-id", b"").decode("latin-1"))
            response = self._shedder.shed(request_id)
            return self._lane.finish(response, request_id, headers.get(b"origin"))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan: startup, then shutdown."""
        await receive()
        self._runtime.loop.attach(asyncio.get_running_loop())
        self._bridge = Bridge(
            self._app.wsgi_app,
            threads=self._settings.web_threads,
            max_wait_seconds=self._settings.max_queue_wait_seconds,
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._bridge.close()
        self._runtime.background.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _send_response(
    response: RawResponse, receive: Receive, send: Send, *, is_read_to_end: bool
) -> None:
    """Send a response. The connection of a request that was not read to its end is closed."""
    headers = response.headers if is_read_to_end else [*response.headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if not is_read_to_end:
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        await linger(receive)
        await send({"type": "http.response.body"})
    else:
        await send({"type": "http.response.body", "body": response.body})


async def _send_pieces(response: RawResponse, receive: Receive, send: Send) -> None:
    """Send a long response. A piece is read when the client has taken most of those before it;
    the pieces of a client that has gone are not read.
    """
    pieces = iter(response.pieces or ())
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": response.headers,
            }
        )
        while not gone.done() and (piece := await asyncio.to_thread(next, pieces, b"")):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if not gone.done():
            await send({"type": "http.response.body"})
    finally:
        gone.cancel()
        getattr(response.pieces, "close", lambda: None)()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
