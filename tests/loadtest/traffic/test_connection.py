"""The load generators' connection, against servers that break it in every way."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress

import pytest

from loadtest.traffic.connection import Connection, Response, Target

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
LAST = b"HTTP/1.1 503 Away\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
Act = Callable[[Connection], Awaitable[None]]


def serve(answers: list[list[bytes]], act: Act, timeout_seconds: float = 30.0) -> int:
    """Run `act` with a server that gives the nth connection the nth list of answers, then closes
    it. An empty answer is none at all. The number of connections.
    """
    handlers: list[asyncio.Task[None] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = answers[len(handlers)]
        handlers.append(asyncio.current_task())
        with closing(writer), suppress(ConnectionError):
            for answer in own:
                await reader.readuntil(b"\r\n\r\n")
                if not answer:
                    await reader.read()
                for at in range(len(answer)):
                    writer.write(answer[at : at + 1])
                    await writer.drain()

    async def run() -> None:
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            connection = Connection(Target("127.0.0.1", port), timeout_seconds)
            await act(connection)
            connection.close()
            await asyncio.gather(*filter(None, handlers))

    asyncio.run(run())
    return len(handlers)


def test_a_connection_is_kept_from_request_to_request() -> None:
    async def act(connection: Connection) -> None:
        assert await connection.request(REQUEST) == Response(200, b"hi")
        assert await connection.request(REQUEST) == Response(201, b"hi")

    assert serve([[OK, CHUNKED]], act) == 1


def test_a_connection_that_the_server_closes_is_opened_again() -> None:
    async def act(connection: Connection) -> None:
        assert await connection.request(REQUEST) == Response(503, b"")
        assert await connection.request(REQUEST) == Response(200, b"hi")

    assert serve([[LAST], [OK]], act) == 2


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Le", OK[:-1], b"garbage\r\n\r\n"])
def test_a_broken_response_is_a_connection_error_and_the_next_request_goes_on(
    answer: bytes,
) -> None:
    async def act(connection: Connection) -> None:
        with pytest.raises(ConnectionError):
            await connection.request(REQUEST)
        assert await connection.request(REQUEST) == Response(200, b"hi")

    assert serve([[answer], [OK]], act) == 2


def test_a_response_that_never_comes_is_a_timeout_and_not_the_next_one_s() -> None:
    async def act(connection: Connection) -> None:
        with pytest.raises(TimeoutError):
            await connection.request(REQUEST)
        with pytest.raises(TimeoutError):
            await connection.request(REQUEST)

    assert serve([[b""], [b""]], act, timeout_seconds=0.2) == 2


def test_nobody_listening_is_a_connection_error() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        target = Target("127.0.0.1", closed.getsockname()[1])
        with pytest.raises(ConnectionError):
            asyncio.run(Connection(target, 30.0).request(REQUEST))


def test_a_target_has_its_url_s_port_and_path() -> None:
    assert Target.of("http://shop.example/bids/") == Target("shop.example", 80, "/bids")
    secure = Target.of("https://shop.example:8443")
    assert (secure.port, secure.base_path, secure.tls is not None) == (8443, "", True)
    assert secure.head("GET", "/a") == b"GET /a HTTP/1.1\r\nHost: shop.example:8443\r\n"
