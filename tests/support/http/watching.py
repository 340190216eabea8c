"""A watcher for tests: keeps the time at which every frame came."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.utils import generate_key

from loadtest.traffic.listener import Address

TIMEOUT_SECONDS = 20.0


class Watcher:
    """One WebSocket on a session's board."""

    def __init__(self, connection: ClientConnection) -> None:
        self.socket = connection
        self.came_at: list[float] = []

    def frame(self, timeout: float = TIMEOUT_SECONDS) -> dict[str, Any]:
        """The next frame."""
        text = self.socket.recv(timeout)
        self.came_at.append(time.monotonic())
        return json.loads(text)

    def frame_until(
        self, condition: Callable[[dict[str, Any]], bool], timeout: float = TIMEOUT_SECONDS
    ) -> dict[str, Any]:
        """The first frame that is so, each of them in time."""
        while not condition(frame := self.frame(timeout)):
            pass
        return frame

    def close_code(self) -> int | None:
        """Read to the end; the code it closed with."""
        try:
            while True:
                self.frame()
        except ConnectionClosed:
            return self.socket.close_code


@contextmanager
def watch(port: int, session_id: object) -> Iterator[Watcher]:
    url = f"ws://127.0.0.1:{port}/ws/{session_id}"
    with connect(url, open_timeout=TIMEOUT_SECONDS, proxy=None) as connection:
        yield Watcher(connection)


def prices(frame: dict[str, Any]) -> list[float]:
    """What stands on the board, best first."""
    return [line["price"] for line in frame["data"]["leaderboard"]]


def raw_watch(port: int, session_id: object) -> socket.socket:
    """A connection after its upgrade, with a small buffer, that reads nothing by itself."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(TIMEOUT_SECONDS)
    connection.connect(("127.0.0.1", port))
    address = Address("127.0.0.1", port, f"/ws/{session_id}", tls=None)
    connection.sendall(address.request(generate_key()))
    assert connection.recv(len(b"HTTP/1.1 101")) == b"HTTP/1.1 101"
    return connection


def read_to_the_end(connection: socket.socket) -> int:
    """How many bytes still come before the connection is over."""
    size = 0
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            size += len(chunk)
    return size
