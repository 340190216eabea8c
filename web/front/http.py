"""uvicorn's HTTP protocol with the bounds that it lacks: one and a deadline for a request's
head, a deadline for its body, for an answer's reader, and for who never asks.
"""

import asyncio
import re
from functools import partial
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from web.front.connections import Bounded, bytes_of, connections
from web.guards.problems import HEAD_TOO_LARGE, OVERLOADED, REQUEST_TIMEOUT, UNREADABLE, Problem
from web.http.answers import new_request_id
from web.http.requests import ANSWER_AT_ONCE, LINGER_SECONDS, Response

log = structlog.get_logger(__name__)

# All of a request must have come after so long.
ARRIVE_SECONDS = 10.0
# How long a connection that is idle when the server ends stays open: a request may be on its way.
LAST_REQUEST_SECONDS = 2.0
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100


_H2C = re.compile(rb"\r\nupgrade:[ \t]*h2c[ \t]*(?=\r\n)", re.IGNORECASE)


def without_h2c(data: bytes) -> bytes:
    """A request's first bytes without the offer to speak HTTP/2, which Java's client makes by
    default: a server may ignore it (RFC 9113), but the parser would drop the body behind it.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _H2C.sub(b"", head + end[:2]) + end[2:] + rest


class HttpProtocol(Bounded, HttpToolsProtocol):
    """uvicorn's HTTP, bounded."""

    _is_ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(transport)
        self._problem = UNREADABLE
        self._in_head = False
        self._head_bytes = self._piece_bytes = self._first_piece_bytes = 0
        # Requests whose heads were read, and that have no answer yet.
        self._unanswered = 0
        self._begun_at: float | None = None
        self._idle_since: float | None = None
        # What is said when all that came before is answered; after that all is said.
        self._last_words: Problem | None = None
        self._refused_at: float | None = None
        connections.add(self)
        self._is_one_too_many = len(connections.open) > connections.max_open

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        connections.open.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, while the head is not too long. What follows a refusal is for nobody."""
        if self._last_words is not None:
            return
        if b"h2c" in data and self._begun_at is None:
            data = without_h2c(data)
        self._piece_bytes = len(data)
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            # Where in its first piece a head begins is not known.
            if self._head_bytes - self._first_piece_bytes > MAX_HEAD_BYTES:
                self._refuse(HEAD_TOO_LARGE)

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """The client says nothing more. Whole requests are answered: it may still read."""
        if not self._unanswered or self._begun_at is not None:
            return False
        self.cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """The first byte of a request is there."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._first_piece_bytes = self._piece_bytes
        self._begun_at, self._idle_since = self.loop.time(), None

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self._is_one_too_many:
            self._problem = OVERLOADED
            raise ValueError("there are too many connections")
        if len(self.headers) > MAX_HEADERS or self._is_head_too_long():
            self._problem = HEAD_TOO_LARGE
            raise ValueError("the head is too large")
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False
        cycle_before = self.cycle
        super().on_headers_complete()
        self._in_head = False
        # A WebSocket has none.
        if self.cycle is not cycle_before:
            self._unanswered += 1
            answer = partial(self._answer_at_once, self.cycle)
            self.scope["extensions"] = {ANSWER_AT_ONCE: answer}  # type: ignore[dict-item]
            # To nothing that is known here: what follows it cannot be read.
            if self.parser.should_upgrade() or self._is_ending:
                self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """All of the request is there."""
        self._begun_at = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out."""
        self._unanswered -= 1
        super().on_response_complete()
        if self._last_words is not None and not self._unanswered:
            self._say_last_words(self._last_words)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to the WebSocket's protocol."""
        if self._unanswered:
            self._refuse(UNREADABLE)
            return
        connections.open.discard(self)
        super().handle_websocket_upgrade()

    def shutdown(self) -> None:
        """Close after the next answer, which says so, or when no request comes any more."""
        self._is_ending = True
        if self._unanswered:
            super().shutdown()
        else:
            self.loop.call_later(LAST_REQUEST_SECONDS, super().shutdown)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        """Answer what cannot be read as a request."""
        self._refuse(self._problem)

    def look(self, now: float, max_idle_seconds: float) -> None:
        """End what takes too long."""
        super().look(now, max_idle_seconds)
        if self._refused_at is not None:
            if now - self._refused_at > LINGER_SECONDS:
                self.transport.close()
        elif self._begun_at is not None:
            if self.pipeline or (self._in_head and self._unanswered):
                # It is read on when the one before it is answered.
                self._begun_at = now
            elif now - self._begun_at > ARRIVE_SECONDS:
                self._refuse(REQUEST_TIMEOUT)
        elif not self._unanswered:
            self._idle_since = self._idle_since or now
            if now - self._idle_since > max_idle_seconds:
                self.transport.close()

    async def _answer_at_once(self, cycle: Any, response: Response) -> None:
        """Send a whole answer: uvicorn writes its head and its body one after the other, and each
        write wakes the client, and costs more than all else in an answer.
        """
        # It refers to the cycle: left there, both would wait for the garbage collector.
        del cycle.scope["extensions"]
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not self.transport.is_closing():
            self.transport.write(self._bytes_of(cycle, response))
            if not cycle.keep_alive:
                self.transport.close()
        cycle.on_response()

    def _bytes_of(self, cycle: Any, response: Response) -> bytes:
        headers = [*cycle.default_headers, *response.headers]
        if not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        parts = [STATUS_LINE[response.status]]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n")
        if cycle.scope["method"] != "HEAD":
            parts.append(response.body)
        return b"".join(parts)

    def _is_head_too_long(self) -> bool:
        if self._head_bytes + self._piece_bytes <= MAX_HEAD_BYTES:
            return False
        sizes = [len(name) + len(value) for name, value in self.headers]
        return len(self.url) + sum(sizes) > MAX_HEAD_BYTES

    def _refuse(self, problem: Problem) -> None:
        """Answer where no application does, once all that came before is answered, and close."""
        self._last_words = problem
        if self._begun_at is not None and not self._in_head:
            # Its head was read: an application waits for its body, or will.
            self._unanswered -= 1
            if self.pipeline:
                self.pipeline.popleft()
            elif self.cycle.response_started:
                self.transport.close()
                return
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        self._begun_at = None
        if not self._unanswered:
            self._say_last_words(problem)

    def _say_last_words(self, problem: Problem) -> None:
        """Close, but read on for a while: else what is unread would have the system reset the
        connection, and the reset overtake the answer.
        """
        self._refused_at = self.loop.time()
        request_id = new_request_id()
        if problem is UNREADABLE:
            client = self.client[0] if self.client else ""
            log.warning("request_unreadable", client=client, request_id=request_id)
        self.transport.write(bytes_of(problem, request_id))
        self.transport.write_eof()
