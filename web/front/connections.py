"""A process's open HTTP and WebSocket connections, and their time limits.

One sweep a second checks all of them, so that no request needs its own timer.
"""

import asyncio
import sys

from web.front.overload import LoadShedder
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
    """The open connections of this process."""

    def __init__(self) -> None:
        self.open: set[BoundedConnection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.max_open = sys.maxsize

    def add(self, connection: "BoundedConnection") -> None:
        self.open.add(connection)
        if self._timer is None:
            self._sweep()

    def _sweep(self) -> None:
        """Check every connection, then schedule the next sweep."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        is_nearly_full = len(self.open) > _NEARLY_FULL_SHARE * self.max_open
        max_idle_seconds = NEARLY_FULL_IDLE_SECONDS if is_nearly_full else MAX_IDLE_SECONDS
        try:
            for connection in tuple(self.open):
                connection.enforce_limits(now, max_idle_seconds)
        finally:
            self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep) if self.open else None


connections = Connections()
# For responses that the server sends without the application.
common_headers: dict[str, str] = {}
_shedder = LoadShedder()


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
    is_overload = problem is OVERLOADED
    response = _shedder.shed(request_id) if is_overload else problem_response(problem, request_id)
    options = response.headers.get("Connection")
    headers = {
        **response.headers,
        "Content-Length": str(len(response.body)),
        "Connection": f"{options}, close" if options else "close",
        "X-Request-ID": request_id,
        **common_headers,
    }
    head = encode_headers(headers.items())
    return b"HTTP/1.1 %d \r\n%b\r\n%b" % (response.status, head, response.body)
