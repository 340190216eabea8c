"""The load test's WebSocket client against the servers of others."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from threading import Thread

import pytest
from websockets.asyncio.server import ServerConnection, serve

from loadtest.traffic.listener import Address, UpgradeFailed, connect

TIMEOUT_SECONDS = 20.0
GOODBYE = b"goodbye"
Handler = Callable[[ServerConnection], Awaitable[None]]


async def talk(handler: Handler) -> tuple[list[bytes], int]:
    """What the client hears from the handler, and the close code."""
    heard: list[bytes] = []

    def note(text: bytes) -> bool:
        heard.append(text)
        return text != GOODBYE

    # Small, so that frames come in pieces.
    scratch = bytearray(1000)
    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        address = Address.of(f"http://127.0.0.1:{port}", "/ws/x")
        client = await connect(address, scratch, note)
        code = await asyncio.wait_for(client.closed, TIMEOUT_SECONDS)
    return heard, code


def hear(handler: Handler) -> tuple[list[bytes], int]:
    return asyncio.run(talk(handler))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
def test_frames_of_every_length_come_whole(size: int) -> None:
    async def send(connection: ServerConnection) -> None:
        for letter in "abc":
            await connection.send(letter * size)

    assert hear(send) == ([letter * size for letter in (b"a", b"b", b"c")], 1000)


def test_fragments_are_one_message() -> None:
    async def send(connection: ServerConnection) -> None:
        await connection.send(["one ", "message", ""])

    assert hear(send) == ([b"one message"], 1000)


def test_pings_are_answered() -> None:
    async def ping(connection: ServerConnection) -> None:
        answered = await connection.ping(os.urandom(100))
        await asyncio.wait_for(answered, TIMEOUT_SECONDS)
        await connection.send("alive")

    assert hear(ping) == ([b"alive"], 1000)


def test_client_leaves_when_it_has_heard_enough() -> None:
    async def wait(connection: ServerConnection) -> None:
        await connection.send(GOODBYE.decode())
        await asyncio.wait_for(connection.wait_closed(), TIMEOUT_SECONDS)
        assert connection.close_code == 1000

    heard, _ = hear(wait)
    assert heard == [GOODBYE]


def test_close_code_is_told() -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.close(4404, "unknown")

    assert hear(leave) == ([], 4404)


def test_connection_that_breaks_is_an_abnormal_close() -> None:
    async def break_off(connection: ServerConnection) -> None:
        connection.transport.abort()

    assert hear(break_off) == ([], 1006)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: another's\r\n\r\n",
        b"",
    ],
)
def test_what_is_no_upgrade_is_not_opened(answer: bytes) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = Thread(target=_answer, args=(server, answer))
        thread.start()
        address = Address.of(f"http://127.0.0.1:{server.getsockname()[1]}", "/ws/x")
        with pytest.raises(UpgradeFailed):
            asyncio.run(connect(address, bytearray(1000), bool))
        thread.join()


def _answer(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(answer)


def test_nobody_there_is_not_opened() -> None:
    with pytest.raises(UpgradeFailed):
        asyncio.run(connect(Address.of("http://127.0.0.1:1", "/"), bytearray(10), bool))


def test_address_follows_the_url() -> None:
    secure = Address.of("https://shop.example/flash/", "/ws/x")
    assert (secure.host, secure.port, secure.path) == ("shop.example", 443, "/flash/ws/x")
    assert secure.tls is not None
    plain = Address.of("http://shop.example:8000", "/ws/x")
    assert (plain.host, plain.port, plain.path, plain.tls) == ("shop.example", 8000, "/ws/x", None)
