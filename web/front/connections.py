"""The open connections of a process, HTTP and WebSocket alike, and what ends them.

Once a second all are looked at, so that no request pays for a timer.
"""

import asyncio
import sys

from web.front.overload import Refusals
from web.guards.problems import OVERLOADED, Problem, problem_answer

# All of an answer must have been read after so long.
READ_SECONDS = 10.0
# How long a connection may be idle, and how long while there is hardly room for others.
MAX_IDLE_SECONDS = 75.0
CROWDED_IDLE_SECONDS = 2.0
_CROWDED_SHARE = 0.9
_SWEEP_SECONDS = 1.0


class Connections:
    """The open connections of this process."""

    def __init__(self) -> None:
        self.open: set[Bounded] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.max_open = sys.maxsize

    def add(self, connection: "Bounded") -> None:
        self.open.add(connection)
        if self._timer is None:
            self._sweep()

    def _sweep(self) -> None:
        """End what takes too long, and look again in a while."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        is_crowded = len(self.open) > _CROWDED_SHARE * self.max_open
        max_idle_seconds = CROWDED_IDLE_SECONDS if is_crowded else MAX_IDLE_SECONDS
        try:
            for connection in tuple(self.open):
                connection.look(now, max_idle_seconds)
        finally:
            self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep) if self.open else None


connections = Connections()
# Of answers that no application makes.
common_headers: dict[str, str] = {}
_refusals = Refusals()


class Bounded:
    """A connection whose peer must read what it is sent."""

    transport: asyncio.Transport
    unread_since: float | None = None

    def resume_writing(self) -> None:
        """It has read what was sent."""
        self.unread_since = None
        super().resume_writing()  # type: ignore[misc]

    def look(self, now: float, max_idle_seconds: float) -> None:  # noqa: ARG002 - for requests
        """End the connection of a peer that does not read."""
        if not self.transport.get_write_buffer_size():
            self.unread_since = None
        elif self.unread_since is None:
            self.unread_since = now
        elif now - self.unread_since > READ_SECONDS:
            self.transport.abort()


def bytes_of(problem: Problem, request_id: str) -> bytes:
    """An answer as it goes out where no application makes it, with the headers that all have."""
    is_full = problem is OVERLOADED
    answer = _refusals.answer(request_id) if is_full else problem_answer(problem, request_id)
    headers = {
        **answer.headers,
        "Content-Length": len(answer.body),
        "Connection": "close",
        "X-Request-ID": request_id,
        **common_headers,
    }
    lines = "".join([f"{name}: {text}\r\n" for name, text in headers.items()])
    return f"HTTP/1.1 {answer.status} \r\n{lines}\r\n".encode("ascii") + answer.body
