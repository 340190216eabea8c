"""Calls the ASGI application in this process, as its server does."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote

from flask import Flask

from web.asgi import Application, create_asgi_app
from web.http.requests import SEND_WHOLE, RawResponse
from web.state import services_of

_PIECE_BYTES = 16 * 1024


class Answer(NamedTuple):
    """An answer as a client reads it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Door:
    """The ASGI application of a Flask application, in the loop of its services."""

    def __init__(self, app: Flask) -> None:
        self._loop = services_of(app).runtime.loop
        self._application = create_asgi_app(app)
        self._says: asyncio.Queue[dict[str, Any]]
        self._hears: asyncio.Queue[dict[str, Any]]
        self._living: asyncio.Task[None]

    def open(self) -> None:
        """Start it."""
        self._loop.run(self._open())

    def close(self) -> None:
        """Stop it."""
        self._loop.run(self._close())

    def ask(self, method: str, address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer to a request."""
        return self._loop.run(_ask(self._application, method, address, body, headers))

    async def _open(self) -> None:
        self._says, self._hears = asyncio.Queue(), asyncio.Queue()
        self._living = asyncio.create_task(
            self._application({"type": "lifespan"}, self._hears.get, self._says.put)
        )
        await self._hears.put({"type": "lifespan.startup"})
        assert (await self._says.get())["type"] == "lifespan.startup.complete"

    async def _close(self) -> None:
        await self._hears.put({"type": "lifespan.shutdown"})
        assert (await self._says.get())["type"] == "lifespan.shutdown.complete"
        await self._living


@contextmanager
def opened(app: Flask) -> Iterator[Door]:
    door = Door(app)
    door.open()
    try:
        yield door
    finally:
        door.close()


async def _ask(
    application: Application, method: str, address: str, body: bytes, headers: Mapping[str, str]
) -> Answer:
    path, _, query = address.partition("?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [
            (name.lower().encode(), text.encode("latin-1")) for name, text in headers.items()
        ],
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 12345),
    }
    pieces = [body[at : at + _PIECE_BYTES] for at in range(0, len(body), _PIECE_BYTES)] or [b""]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False
    messages.append({"type": "http.disconnect"})
    coming = iter(messages)
    answers: list[RawResponse] = []

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send_whole(response: RawResponse) -> None:
        answers.append(response)

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(f"a long answer: {message}")

    await application({**scope, "extensions": {SEND_WHOLE: send_whole}}, receive, send)
    [answer] = answers
    answered = [(name.decode(), text.decode("latin-1")) for name, text in answer.headers]
    return Answer(answer.status, answered, answer.body)
