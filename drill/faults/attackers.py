"""Clients that mean harm: `python -m drill.faults.attackers` in a process of its own, so that
they do not slow down the members whose bids are timed.
"""

import json
import os
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from threading import Thread
from typing import Any

CONNECTIONS = 32
TIMEOUT_SECONDS = 10.0
# The attackers' machines are their own: here they get what the service leaves.
NICENESS = 10
PINGS_IN_A_PACK = 500
_WIDE = b"[%b]" % b",".join([b"[]"] * 21_000)
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(frozen=True, slots=True)
class Target:
    """What the attackers know. `address`: their own; limits by address count each attack alone."""

    port: int
    address: str
    # An open session in which only they bid, and a closed one with thousands of winners.
    open_session: str
    closed_session: str
    tokens: list[str]


# The bytes of one request, for the connection and the number of the request.
Make = Callable[[Target, int, int], bytes]


def _post(path: str, body: bytes, token: str = "") -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: shop.example",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Authorization: Bearer {token}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode()


def _bid(target: Target, connection: int, price: int) -> bytes:
    body = json.dumps({"session_id": target.open_session, "price": price}).encode()
    return _post("/api/bid", body, target.tokens[connection])


def _login(_: Target, connection: int, number: int) -> bytes:
    login = {"username": f"nobody {connection} {number}", "password": "a good guess"}
    return _post("/api/auth/login", json.dumps(login).encode())


def _page(number: int, connection: int) -> int:
    """A page that nobody else asks for."""
    return 2 + connection + CONNECTIONS * number


ATTACKS: dict[str, Make] = {
    "unknown-logins": _login,
    "wide-json": lambda *_: _post("/api/auth/login", _WIDE),
    "wide-bids": lambda target, connection, _: _post("/api/bid", _WIDE, target.tokens[connection]),
    "results-pages": lambda target, connection, number: _get(
        f"/api/results/{target.closed_session}?page_size=1&page={_page(number, connection)}"
    ),
    "board-pages": lambda target, connection, number: _get(
        f"/api/leaderboard/{target.closed_session}?page={_page(number, connection)}"
    ),
    "refused-bids": lambda target, connection, _: _bid(target, connection, 1),
    "replays": lambda target, connection, _: _bid(target, connection, 150),
    "pings": lambda target, *_: _get(f"/ws/{target.open_session}").replace(
        b"\r\n\r\n",
        f"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {_KEY}\r\n\r\n".encode(),
    ),
}
# A masked text frame "ping".
_PACK = struct.pack("!BB4s4s", 0x81, 0x84, bytes(4), b"ping") * PINGS_IN_A_PACK


class Attackers:
    """All connections of one attack."""

    def __init__(self, name: str, target: Target, seconds: float) -> None:
        self._is_watching = name == "pings"
        self._make, self._target = ATTACKS[name], target
        self._until = time.monotonic() + seconds
        self.answers: Counter[str] = Counter()

    def run(self) -> None:
        threads = [Thread(target=self._stay, args=(number,)) for number in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _stay(self, number: int) -> None:
        """Connect again as long as the attack lasts."""
        requests = count()
        while time.monotonic() < self._until:
            with suppress(OSError), self._connected() as connection:
                self._ask(connection, number, requests)

    def _connected(self) -> socket.socket:
        place = ("127.0.0.1", self._target.port)
        return socket.create_connection(place, TIMEOUT_SECONDS, (self._target.address, 0))

    def _ask(self, connection: socket.socket, number: int, requests: "count[int]") -> None:
        while time.monotonic() < self._until:
            connection.sendall(self._make(self._target, number, next(requests)))
            status, is_kept = _read_answer(connection)
            self.answers[status] += 1
            if status == "101":
                self._ping(connection)
            if not is_kept:
                return

    def _ping(self, connection: socket.socket) -> None:
        while time.monotonic() < self._until:
            connection.sendall(_PACK)
            if not connection.recv(65_536):
                return


def _read_answer(connection: socket.socket) -> tuple[str, bool]:
    """The status of an answer, and whether the connection stays open. Raises OSError."""
    head, _, body = _receive_until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    left = int(headers.get("content-length", 0)) - len(body)
    while left > 0:
        left -= len(_receive(connection))
    return lines[0].split()[1], headers.get("connection") != "close"


def _receive_until(connection: socket.socket, end: bytes) -> bytes:
    got = b""
    while end not in got:
        got += _receive(connection)
    return got


def _receive(connection: socket.socket) -> bytes:
    piece = connection.recv(65_536)
    if not piece:
        raise OSError("closed")
    return piece


def encode_order(name: str, target: Target, seconds: float) -> str:
    """The line that a process of attackers reads."""
    return json.dumps({"name": name, "target": asdict(target), "seconds": seconds})


def main() -> None:
    """Attack as the line on the standard input says; print the answers by status."""
    os.nice(NICENESS)
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    attackers = Attackers(order["name"], Target(**order["target"]), order["seconds"])
    attackers.run()
    print(json.dumps(attackers.answers))


if __name__ == "__main__":
    main()
