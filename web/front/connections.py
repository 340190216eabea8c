"""A process's open HTTP and WebSocket connections, and their time limits.

One sweep a second checks all of them, so that no request needs its own timer.
"""

import asyncio
import sys
from typing import Any

from web.front.overload import shedder
from web.guards.problems import OVERLOADED, Problem, problem_response
from web.http.requests import encode_headers

# The time a client has to read a response.
RESPONSE_READ_SECONDS = 10.0
# The time a connection may be idle; the shorter one applies when connections run short.
MAX_IDLE_SECONDS = 75.0
NEARLY_FULL_IDLE_SECONDS = 2.0
_NEARLY_FULL_SHARE = 0.9
_SWEEP_SECONDS = 1.0


class Connections:
    """Checks the open connections of this process."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self.max_open = sys.maxsize

    def watch(self, open_ones: set[Any]) -> None:
        """Check those that are in uvicorn's set, as long as there are any."""
        if self._timer is None:
            self._sweep(open_ones)

    def _sweep(self, open_ones: set[Any]) -> None:
        """Check every connection, then schedule the next sweep."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        is_nearly_full = len(open_ones) > _NEARLY_FULL_SHARE * self.max_open
        max_idle_seconds = NEARLY_FULL_IDLE_SECONDS if is_nearly_full else MAX_IDLE_SECONDS
        try:
            for connection in tuple(open_ones):
                connection.enforce_limits(now, max_idle_seconds)
        finally:
            self._timer = None
            if open_ones:
                self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep, open_ones)


connections = Connections()
# For responses that the server sends without the application.
common_headers: dict[str, str] = {}


class BoundedConnection:
    """A connection that is aborted when its peer does not read."""

    transport: asyncio.Transport
    unread_since: float | None = None

    def resume_writing(self) -> None:
        """The write buffer has drained."""
        self.unread_since = None
        super().resume_writing()  # type: ignore[misc]

    def enforce_limits(self, now: float, max_idle_seconds: float) -> None:  # noqa: ARG002 - subclasses use it
        """Abort the connection of a peer that does not read."""
        if not self.transport.get_write_buffer_size():
            self.unread_since = None
        elif self.unread_since is None:
            self.unread_since = now
        elif now - self.unread_since > RESPONSE_READ_SECONDS:
            self.transport.abort()


def encode_problem(problem: Problem, request_id: str) -> bytes:
    """A complete HTTP response for a problem, made without the application."""
    shed = shedder.shed(request_id) if problem is OVERLOADED else None
    response = shed or problem_response(problem, request_id)
    headers = {
        **response.headers,
        "Content-Length": str(len(response.body)),
        "X-Request-ID": request_id,
        **common_headers,
    }
    # A problem may have a `Connection` of its own; lines of one name are one list.
    head = encode_headers([*headers.items(), ("Connection", "close")])
    return b"HTTP/1.1 %d \r\n%b\r\n%b" % (response.status, head, response.body)
