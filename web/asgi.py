"""The ASGI application, `create_asgi_app()`; gunicorn serves it with `web.front.server.Worker`.

The lane handles bids and boards in the event loop, the bridge passes other requests to
Flask's threads, and `Watchers` serves WebSockets.
"""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus

import structlog
from flask import Flask

from core import errors
from core.config import unknown_settings
from web.app import create_app
from web.front.bridge import Bridge
from web.front.overload import shedder
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
    read_body,
)
from web.http.responses import assign_request_id
from web.lane import lane_of
from web.state import services_of

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
        self._body_limits = body_limits(app)
        self._bridge = Bridge(
            app.wsgi_app,
            threads=settings.web_threads,
            max_wait_seconds=settings.max_queue_wait_seconds,
        )
        self._watchers = Watchers(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Read first: a client that has gone takes it along.
            send_whole = scope["extensions"][SEND_WHOLE]
            handler = self._lane.handler_for(scope)
            max_bytes = self._body_limits.get(scope["path"], MAX_BODY_BYTES)
            try:
                body = await read_body(receive, max_bytes)
            except ClientGone:
                return
            if handler is not None:
                response = await self._lane.respond(handler, lane_request(scope, body))
            else:
                response = await self._respond_with_flask(scope, body)
            if response.status in _DELAYED_STATUSES:
                await asyncio.sleep(REFUSAL_DELAY_SECONDS)
            if response.pieces is None:
                await send_whole(response)
            else:
                await _send_pieces(response, response.pieces, receive, send)
        elif scope["type"] == "websocket":
            await self._watchers.serve(scope, receive, send)
        else:
            await self._lifespan(receive, send)

    async def _respond_with_flask(self, scope: Scope, body: bytes | None) -> RawResponse:
        try:
            return await self._bridge.respond(scope, body)
        except errors.ServiceBusy:
            await asyncio.sleep(REFUSAL_DELAY_SECONDS)
            request = lane_request(scope, body)
            request_id = assign_request_id(request.header(b"x-request-id"))
            origin = request.headers.get(b"origin")
            return self._lane.finish(shedder.shed(request_id), request_id, origin)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan: startup, then shutdown."""
        await receive()
        self._runtime.loop.attach(asyncio.get_running_loop())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._bridge.close()
        self._runtime.background.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _send_pieces(
    response: RawResponse, pieces: Iterable[bytes], receive: Receive, send: Send
) -> None:
    """Send a long response. A piece is read when the client has taken most of those before it;
    the pieces of a client that has gone are not read.
    """
    unread = iter(pieces)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        head = {"status": response.status, "headers": response.headers}
        await send({"type": "http.response.start", **head})
        while not gone.done() and (piece := await asyncio.to_thread(next, unread, b"")):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if not gone.done():
            await send({"type": "http.response.body"})
    finally:
        gone.cancel()
        getattr(pieces, "close", lambda: None)()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
