"""uvicorn's HTTP protocol with the limits that it lacks: size and time limits for a request's
head, and time limits for its body, for reading the response and for idle connections.
"""

import asyncio
import re
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from web.front.connections import BoundedConnection, connections, encode_problem
from web.guards.problems import HEAD_TOO_LARGE, OVERLOADED, REQUEST_TIMEOUT, UNREADABLE, Problem
from web.http.requests import LINGER_SECONDS, SEND_WHOLE, RawResponse
from web.http.responses import new_request_id

log = structlog.get_logger(__name__)

# The time a client has to send a complete request.
REQUEST_ARRIVAL_SECONDS = 10.0
# How long idle connections stay open during shutdown: a request may be on its way.
LAST_REQUEST_SECONDS = 2.0
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
# Thousands of arguments cost as much as a large body, and boards parse them in the event loop.
MAX_URL_BYTES = 4096


_H2C = re.compile(rb"\r\nupgrade:[ \t]*h2c[ \t]*(?=\r\n)", re.IGNORECASE)


def without_h2c(data: bytes) -> bytes:
    """A request's first bytes without an upgrade to HTTP/2, which Java's client offers by default.

    A server may ignore the offer (RFC 9113), but the parser would drop the body after it.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _H2C.sub(b"", head + end[:2]) + end[2:] + rest


class HttpProtocol(BoundedConnection, HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits."""

    _is_shutting_down = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the connection."""
        super().connection_made(transport)
        self._parse_problem = UNREADABLE
        self._in_head = False
        self._head_bytes = self._chunk_bytes = 0
        # The cycle of the request that is being served; later ones wait in `pipeline`.
        self._served: Any = None
        self._extensions = {SEND_WHOLE: self._send_whole}
        self._request_started_at: float | None = None
        self._idle_since: float | None = None
        # Sent after the responses to all earlier requests; then the connection closes.
        self._final_problem: Problem | None = None
        self._closing_since: float | None = None
        self._is_over_limit = len(self.connections) > connections.max_open
        connections.watch(self.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being served: uvicorn tells only the last one."""
        if self._served is not None:
            self._served.disconnected = True
            self._served.message_event.set()
        # Break the reference cycle, which only the garbage collector would free.
        self._extensions.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and limit the head's size. Bytes after a rejected request are discarded."""
        if self._final_problem is not None or self._closing_since is not None:
            return
        if b"h2c" in data and self._request_started_at is None:
            data = without_h2c(data)
        self._chunk_bytes = len(data)
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # The head may start anywhere in its first chunk, so that one is not counted.
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._reject(HEAD_TOO_LARGE)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's signature
        """The client has stopped sending, but may still read responses to complete requests."""
        if self._served is None or self._request_started_at is not None:
            return False
        self.cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """A request has begun."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._request_started_at, self._idle_since = self.loop.time(), None

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self._is_over_limit:
            self._parse_problem = OVERLOADED
            raise ValueError("too many connections")
        if (
            len(self.url) > MAX_URL_BYTES
            or len(self.headers) > MAX_HEADERS
            or (
                (self._head_bytes or self._chunk_bytes > MAX_HEAD_BYTES)
                and self._is_head_too_long()
            )
        ):
            self._parse_problem = HEAD_TOO_LARGE
            raise ValueError("head too large")
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False
        cycle_before = self.cycle
        super().on_headers_complete()
        self._in_head = False
        # A WebSocket creates no cycle.
        if self.cycle is not cycle_before:
            self._served = self._served or self.cycle
            self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]
            # Bytes after an upgrade to an unsupported protocol cannot be parsed.
            if self.parser.should_upgrade() or self._is_shutting_down:
                self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._request_started_at = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The response was sent."""
        if self.pipeline:
            self._served = self.pipeline[-1][0]
            super().on_response_complete()
        else:
            self._served = None
            # uvicorn would start a timer for each request; the sweep closes idle connections.
            self.server_state.total_requests += 1
            self.flow.resume_reading()
        if self._final_problem is not None and self._served is None:
            self._send_final_problem(self._final_problem)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol."""
        if self._served is not None:
            self._reject(UNREADABLE)
        else:
            super().handle_websocket_upgrade()

    def shutdown(self) -> None:
        """Close after the next response, or after a pause when no request is under way."""
        self._is_shutting_down = True
        if self._served is not None:
            super().shutdown()
        else:
            self.loop.call_later(LAST_REQUEST_SECONDS, super().shutdown)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - `_parse_problem` says more
        """Reject bytes that are no valid request."""
        self._reject(self._parse_problem)

    def enforce_limits(self, now: float, max_idle_seconds: float) -> None:
        """Enforce the time limits of request, response and idle connection."""
        super().enforce_limits(now, max_idle_seconds)
        if self._closing_since is not None:
            if now - self._closing_since > LINGER_SECONDS:
                self.transport.close()
        elif self._request_started_at is not None:
            if self.pipeline or (self._in_head and self._served is not None):
                # Reading resumes after the response to the previous request.
                self._request_started_at = now
            elif now - self._request_started_at > REQUEST_ARRIVAL_SECONDS:
                self._reject(REQUEST_TIMEOUT)
        elif self._served is None:
            self._idle_since = self._idle_since or now
            if now - self._idle_since > max_idle_seconds:
                self.transport.close()

    async def _send_whole(self, response: RawResponse) -> None:
        """Send a complete response to the request that is being served, in one write.

        uvicorn writes head and body separately; each write wakes the client and costs more
        than everything else in a response.
        """
        cycle = self._served
        if cycle is None:
            # Rejected meanwhile.
            return
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if cycle.more_body:
            # The request was not read to its end.
            cycle.keep_alive = False
        if not self.transport.is_closing():
            self.transport.write(self._encode_response(cycle, response))
            if cycle.more_body:
                self._linger()
            elif not cycle.keep_alive:
                self.transport.close()
        cycle.on_response()

    def _encode_response(self, cycle: Any, response: RawResponse) -> bytes:
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        body = b"" if cycle.scope["method"] == "HEAD" else response.body
        date = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
        status = STATUS_LINE[response.status]
        return b"%b%b%b%b\r\n%b" % (status, date, response.head, close, body)

    def _is_head_too_long(self) -> bool:
        sizes = [len(name) + len(value) for name, value in self.headers]
        return len(self.url) + sum(sizes) > MAX_HEAD_BYTES

    def _reject(self, problem: Problem) -> None:
        """Respond without the application after all earlier responses, then close."""
        self._final_problem = problem
        if self._request_started_at is not None and not self._in_head:
            # Its head was read: the application is waiting for the body, or will be.
            if self.pipeline:
                self.pipeline.popleft()
            elif self.cycle.response_started:
                self.transport.close()
                return
            else:
                self._served = None
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        self._request_started_at = None
        if self._served is None:
            self._send_final_problem(problem)

    def _send_final_problem(self, problem: Problem) -> None:
        """Send the response and close."""
        request_id = new_request_id()
        if problem is UNREADABLE:
            client = self.client[0] if self.client else ""
            log.warning("request_unreadable", client=client, request_id=request_id)
        self.transport.write(encode_problem(problem, request_id))
        self._linger()

    def _linger(self) -> None:
        """Close, but keep reading for a while: unread bytes would make the system reset the
        connection, and the client might lose the response.
        """
        self._closing_since = self.loop.time()
        self.transport.write_eof()
