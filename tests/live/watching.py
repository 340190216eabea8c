"""A watcher for tests: keeps the time at which every frame came."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

TIMEOUT_SECONDS = 20.0


class Watcher:
    """One WebSocket on a session's board."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.came_at: list[float] = []

    def frame(self, timeout: float = TIMEOUT_SECONDS) -> dict[str, Any]:
        """The next frame."""
        text = self.socket.recv(timeout)
        self.came_at.append(time.monotonic())
        return json.loads(text)

    def frame_until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first frame that is so."""
        while not condition(frame := self.frame()):
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
    with connect(url, open_timeout=TIMEOUT_SECONDS, proxy=None) as socket:
        yield Watcher(socket)


def prices(frame: dict[str, Any]) -> list[float]:
    """What stands on the board, best first."""
    return [line["price"] for line in frame["data"]["leaderboard"]]
