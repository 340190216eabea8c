"""The server's own connections, in the test's process: what waits in them can be looked at."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.utils import generate_key

from loadtest.traffic.listener import Address
from web.front.connections import connections
from web.front.http import HttpProtocol
from web.front.server import Worker
from web.front.websocket import WatcherProtocol

Application = Callable[[Any, Any, Any], Awaitable[None]]
TIMEOUT_SECONDS = 20.0
HANDSHAKE = Address("localhost", 80, "/ws/a-session", tls=None).request(generate_key())
PING = Frame(Opcode.TEXT, b"ping").serialize(mask=True)
PONG = Frame(Opcode.TEXT, b"pong").serialize(mask=False)


class Serving:
    """An application under the worker's settings, on a port of its own."""

    def __init__(self, address: tuple[str, int], state: ServerState) -> None:
        self.address, self.state = address, state
        self.browsers: list[Browser] = []

    async def connect(self) -> "Browser":
        """A browser's connection, which reads nothing by itself."""
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(end, self.address)
        self.browsers.append(Browser(end))
        return self.browsers[-1]

    async def watch(self) -> tuple["Browser", WatcherProtocol]:
        """A browser after its handshake, and the server's side of it."""
        before = set(self.state.connections)
        browser = await self.connect()
        await browser.send(HANDSHAKE)
        assert b" 101 " in await browser.read_until(b"\r\n\r\n")
        [protocol] = set(self.state.connections) - before
        assert isinstance(protocol, WatcherProtocol)
        return browser, protocol


class Browser:
    """The other end of a connection."""

    def __init__(self, end: socket.socket) -> None:
        self.end, self._loop = end, asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.end, data)

    async def read(self, size: int = 65536) -> bytes:
        """Some bytes; none at the end."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._loop.sock_recv(self.end, size)

    async def read_until(self, end: bytes) -> bytes:
        got = b""
        while not got.endswith(end):
            got += await self.read(1)
        return got

    async def read_bytes(self, size: int) -> bytes:
        got = b""
        while len(got) < size and (piece := await self.read(size - len(got))):
            got += piece
        return got

    async def read_to_the_end(self) -> bytes:
        got = b""
        while piece := await self.read():
            got += piece
        return got


@asynccontextmanager
async def serving(application: Application) -> AsyncIterator[Serving]:
    config = uvicorn.Config(application, log_config=None, **Worker.CONFIG_KWARGS)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpProtocol(config, state, {}), "127.0.0.1", 0)
    serving = Serving(server.sockets[0].getsockname(), state)
    try:
        yield serving
    finally:
        server.close()
        for browser in serving.browsers:
            browser.end.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await until(lambda: not state.connections and not state.tasks)
        # The next test has a loop of its own.
        if connections._timer is not None:
            connections._timer.cancel()
            connections._timer = None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():  # noqa: ASYNC110 - of what happens elsewhere nobody tells
            await asyncio.sleep(0.01)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test in the loop that the server has."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test)


async def stay(receive: Any) -> None:
    """Hear the peer out."""
    while (await receive())["type"] != "websocket.disconnect":
        pass
