"""The application that is served: `create_asgi_app()`, by gunicorn with `web.front.server.Worker`.

The lane answers bids and boards in the event loop, the bridge gives Flask's threads
everything else, and watchers are served beside them.
"""

import asyncio
from typing import Any

from flask import Flask

from web.app import create_app
from web.front.bridge import Bridge
from web.front.overload import Overloaded, Refusals
from web.front.sockets import Watchers
from web.http.answers import name_request
from web.http.requests import (
    ANSWER_AT_ONCE,
    ClientGone,
    Response,
    Scope,
    linger,
    read_body,
    read_request,
)
from web.lane import lane_of
from web.state import board_pages_of, services_of

Channel = Any


def create_asgi_app(app: Flask | None = None) -> "Application":
    """The application, over a Flask application or a new one. Connects to nothing yet."""
    return Application(app or create_app())


class Application:
    """Flask, the lane and the watchers as one ASGI application."""

    def __init__(self, app: Flask) -> None:
        services = services_of(app)
        settings = services.settings
        self._runtime = services.runtime
        self._lane = lane_of(app)
        self._refusals = Refusals()
        self._app, self._settings = app, settings
        self._watchers = Watchers(
            services, board_pages_of(app), max_watchers=settings.live_max_watchers
        )
        self._bridge: Bridge | None = None

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        if scope["type"] == "http":
            handler = self._lane.handler_of(scope)
            try:
                if handler is not None:
                    request = await read_request(scope, receive)
                    response = await self._lane.answer(handler, request)
                    whole = request.body is not None
                else:
                    body = await read_body(receive)
                    response = await self._by_flask(scope, body)
                    whole = body is not None
            except ClientGone:
                return
            at_once = scope.get("extensions", {}).get(ANSWER_AT_ONCE) if whole else None
            if at_once is not None:
                await at_once(response)
            else:
                await _send(response, receive, send, whole=whole)
        elif scope["type"] == "websocket":
            await self._watchers.serve(scope, receive, send)
        else:
            await self._live(receive, send)

    async def _by_flask(self, scope: Scope, body: bytes | None) -> Response:
        assert self._bridge is not None  # noqa: S101 - made at the start
        try:
            return await self._bridge.answer(scope, body)
        except Overloaded:
            headers = dict(scope["headers"])
            request_id = name_request(headers.get(b"x-request-id", b"").decode("latin-1"))
            answer = self._refusals.answer(request_id)
            return self._lane.complete(answer, request_id, headers.get(b"origin"))

    async def _live(self, receive: Channel, send: Channel) -> None:
        """ASGI's lifespan: from the server's start to its end."""
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


async def _send(response: Response, receive: Channel, send: Channel, *, whole: bool) -> None:
    """Answer. The connection of a request that was not read to its end ends with it."""
    headers = response.headers if whole else [*response.headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if not whole:
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        await linger(receive)
        await send({"type": "http.response.body"})
    else:
        await send({"type": "http.response.body", "body": response.body})
