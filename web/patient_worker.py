"""Gunicorn's threaded worker with a main loop in which nothing waits for a client.

Gunicorn gives a connection a thread with its first byte, and waits there for the rest; it
waits in its main loop for a peer to close. Some dozens of clients that are slow, or pretend
to be, would so hold all threads, or the loop. Here a request gets its thread when all of it
has arrived, and a thread leaves its answer to the loop. The loop watches, each for so long:
connections with part of a request, clients that have still to read their answer, and peers
that have still to close.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from math import inf
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import Any

import structlog
from gunicorn.http import get_parser
from gunicorn.http.unreader import IterUnreader
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from web import early_refusal, errors
from web.arrival import Arriving, State, whole_length
from web.body import MAX_BODY_BYTES

log = structlog.get_logger(__name__)

# All of a request must have come after so long, and all of an answer have been read.
ARRIVE_SECONDS = 10.0
READ_SECONDS = 10.0
# For how long a peer may still send after its answer; RFC 9112, section 9.6, says why.
LINGER_SECONDS = 2.0
# Longer requests are gathered. Larger buffers would cost more than all else in the main loop:
# the system hands out and takes back memory for each.
_PEEKED_BYTES = 16_384
READ_BYTES = 65_536
# Of all requests in part together; the oldest has to go for a new one.
MAX_GATHERED_BYTES = 64 * 1024 * 1024
# Of all answers together that are still to be read; again the oldest has to go.
MAX_UNSENT_BYTES = 256 * 1024 * 1024
# No thread waits longer in one call for a client whose connection gunicorn encrypts.
_CALL_TIMEOUT = struct.pack("ll", 10, 0)
_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Watched:
    """Connections that the poller watches for one kind of event, each until a deadline."""

    def __init__(self, event: int, max_seconds: float) -> None:
        self._event, self._max_seconds = event, max_seconds
        # All have the same time, so they are in the order of their deadlines.
        self._deadlines: dict[TConn, float] = {}
        self._ends_at = inf

    def watch(self, poller: BaseSelector, conn: TConn, callback: Callable[[], None]) -> None:
        """Call back at each event. The deadline is counted from the first time on."""
        deadline = min(time.monotonic() + self._max_seconds, self._ends_at)
        self._deadlines.setdefault(conn, deadline)
        poller.register(conn.sock, self._event, lambda _: callback())

    def forget(self, conn: TConn) -> None:
        """It came in time."""
        self._deadlines.pop(conn, None)

    def oldest(self) -> TConn:
        """The first whose time will be over."""
        return next(iter(self._deadlines))

    def late(self) -> Iterator[TConn]:
        """Those whose time is over; they are forgotten."""
        now = time.monotonic()
        while self._deadlines:
            conn, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                return
            del self._deadlines[conn]
            yield conn

    def hurry(self, deadline: float) -> None:
        """Let no time last beyond this moment, from now on."""
        self._ends_at = deadline
        for conn, own in self._deadlines.items():
            self._deadlines[conn] = min(own, deadline)


class _Outgoing:
    """Stands for a connection's socket while a thread answers, and keeps what is to be sent."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(data)

    def send(self, data: bytes) -> int:
        self.parts.append(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """A threaded worker whose threads get whole requests, and whose main loop waits for nobody."""

    def init_process(self) -> None:
        """Set up, and serve until told to stop."""
        self._arriving = Watched(EVENT_READ, ARRIVE_SECONDS)
        self._gathered: dict[TConn, Arriving] = {}
        self._gathered_bytes = 0
        self._reading = Watched(EVENT_WRITE, READ_SECONDS)
        # How much of each answer was left when its reader was first waited for.
        self._unsent: dict[TConn, int] = {}
        self._unsent_bytes = 0
        self._leaving = Watched(EVENT_READ, LINGER_SECONDS)
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        """Have a request taken up when all of it is there."""
        if not (conn.initialized or conn.data_ready):
            _bound_calls(conn.sock)
            self._await_data(conn)
            return
        # An encrypted socket cannot be looked into.
        start = None if self.cfg.is_ssl else start_of(conn)
        if start == b"":
            self.close(conn)
        elif start is None or whole_length(start) is not None:
            self.take(conn, start)
        else:
            self._gather(conn)

    def take(self, conn: TConn, start: bytes | None) -> None:  # noqa: ARG002 - for who knows better
        """Have a thread serve a request that starts so; None when that cannot be told."""
        super().enqueue_req(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Handle what happens, and end what has taken too long."""
        super().wait_for_and_dispatch_events(timeout)
        for conn in self._arriving.late():
            self._turn_down(conn, errors.REQUEST_TIMEOUT)
        for conn in self._reading.late():
            self._give_reader_up(conn)
        for conn in self._leaving.late():
            self.poller.unregister(conn.sock)
            self.close(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """In a thread: have the application answer. What is left of a body that is too long, or
        whose end is uncertain, ends with the connection.
        """
        is_cut_off = isinstance(conn.parser.unreader, IterUnreader)
        if is_cut_off or any(_is_too_long(name, text) for name, text in req.headers):
            req.force_close()
        if self.cfg.is_ssl:
            return super().handle_request(req, conn)
        sock, conn.sock = conn.sock, _Outgoing(conn.sock)
        try:
            return super().handle_request(req, conn)
        finally:
            conn.outgoing, conn.sock = conn.sock.parts, sock

    def finish_request(self, conn: TConn, future: "Future[Any]") -> None:
        """Send what a thread has answered, and go on with the connection."""
        parts, conn.outgoing = getattr(conn, "outgoing", []), []
        try:
            keeps = not future.cancelled() and future.result()
            conn.sock.setblocking(False)
        except Exception:  # noqa: BLE001 - as gunicorn does: the answer may have been sent
            self.close(conn)
        else:
            self.send(conn, b"".join(parts), self.go_on if keeps else self.linger)

    def go_on(self, conn: TConn) -> None:
        """Look at what comes next on the connection."""
        if has_read_ahead(conn):
            self.enqueue_req(conn)
        else:
            self.keep(conn)

    def keep(self, conn: TConn) -> None:
        """Wait for the connection's next request."""
        conn.set_timeout()
        if not self.alive:
            conn.timeout = min(conn.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)
        self.keepalived_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_client_socket_readable, conn))

    def send(self, conn: TConn, answer: bytes | memoryview, then: Callable[[TConn], None]) -> None:
        """Send an answer as fast as the client reads, and go on then."""
        try:
            sent = conn.sock.send(answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._forget_unsent(conn)
            self.close(conn)
            return
        if sent == len(answer):
            self._forget_unsent(conn)
            then(conn)
        else:
            self._await_reader(conn, memoryview(answer)[sent:], then)

    def linger(self, conn: TConn) -> None:
        """End a connection when its peer has: what the peer still sends would otherwise make the
        system reset the connection, and the reset overtake the answer.
        """
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(conn)
        else:
            self._leaving.watch(self.poller, conn, partial(self._drop_what_comes, conn))

    def close(self, conn: TConn) -> None:
        """End a connection at once."""
        self.nr_conns -= 1
        with suppress(OSError):
            conn.sock.shutdown(socket.SHUT_WR)
        conn.close()

    def _await_data(self, conn: TConn) -> None:
        conn.timeout = time.monotonic() + self.cfg.keepalive
        if not self.alive:
            conn.timeout = min(conn.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _gather(self, conn: TConn) -> None:
        """Take over a request in pieces, and wait for the rest."""
        conn.init()
        conn.sock.setblocking(False)
        arriving = self._gathered[conn] = Arriving()
        self._arriving.watch(self.poller, conn, partial(self._gather_more, conn, arriving))
        self._add(conn, arriving, conn.parser.unreader.take_buffered())

    def _gather_more(self, conn: TConn, arriving: Arriving) -> None:
        try:
            came = conn.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        if came:
            self._add(conn, arriving, came)
        else:
            # The client has hung up in mid-request.
            self._stop_gathering(conn)
            self.close(conn)

    def _add(self, conn: TConn, arriving: Arriving, came: bytes) -> None:
        arriving.add(came)
        self._gathered_bytes += len(came)
        match arriving.state:
            case State.PARTIAL:
                self._ask_for_body(conn, arriving)
                while self._gathered_bytes > MAX_GATHERED_BYTES:
                    self._turn_down(self._arriving.oldest(), errors.REQUEST_TIMEOUT)
            case State.WHOLE:
                start = self._stop_gathering(conn)
                conn.parser.unreader.unread(start)
                self.take(conn, start)
            case State.UNCERTAIN:
                start = self._stop_gathering(conn)
                # The parser meets an end where it would wait.
                conn.parser = get_parser(self.cfg, iter((start,)), conn.client)
                self.take(conn, start)
            case State.HEAD_TOO_LONG:
                self._turn_down(conn, errors.HEAD_TOO_LARGE)

    def _ask_for_body(self, conn: TConn, arriving: Arriving) -> None:
        if arriving.expects_to_be_asked:
            arriving.expects_to_be_asked = False
            with suppress(OSError):
                conn.sock.send(_GO_ON)

    def _stop_gathering(self, conn: TConn) -> bytes:
        """What has been gathered of it."""
        self._arriving.forget(conn)
        self.poller.unregister(conn.sock)
        received = bytes(self._gathered.pop(conn).received)
        self._gathered_bytes -= len(received)
        return received

    def _turn_down(self, conn: TConn, problem: errors.Problem) -> None:
        start = self._stop_gathering(conn)
        log.warning("request_turned_down", code=problem.code, status=problem.status)
        with suppress(OSError):
            conn.sock.send(early_refusal.answer(start, keeps_connection=False, problem=problem))
        self.linger(conn)

    def _await_reader(self, conn: TConn, unsent: memoryview, then: Callable[[TConn], None]) -> None:
        self._reading.watch(self.poller, conn, partial(self._send_on, conn, unsent, then))
        if conn not in self._unsent:
            self._unsent[conn] = len(unsent)
            self._unsent_bytes += len(unsent)
        while self._unsent_bytes > MAX_UNSENT_BYTES:
            self._give_reader_up(self._reading.oldest())

    def _send_on(self, conn: TConn, unsent: memoryview, then: Callable[[TConn], None]) -> None:
        self.poller.unregister(conn.sock)
        self.send(conn, unsent, then)

    def _give_reader_up(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self._forget_unsent(conn)
        self.close(conn)

    def _forget_unsent(self, conn: TConn) -> None:
        self._reading.forget(conn)
        self._unsent_bytes -= self._unsent.pop(conn, 0)

    def _drop_what_comes(self, conn: TConn) -> None:
        try:
            has_more = bool(conn.sock.recv(READ_BYTES))
        except BlockingIOError:
            return
        except OSError:
            has_more = False
        if not has_more:
            self.poller.unregister(conn.sock)
            self._leaving.forget(conn)
            self.close(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        """As gunicorn does when it stops; and let no silent or slow client hold up the stop."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
        self._arriving.hurry(deadline)
        # Before the arbiter loses its own patience, and with it the last counts of this process.
        self._reading.hurry(time.monotonic() + self.cfg.graceful_timeout / 2)


def start_of(conn: TConn) -> bytes | None:
    """What has arrived of the next request, left where it is.

    None when that cannot be told, nothing when the client has hung up.
    """
    try:
        conn.sock.setblocking(False)
        peeked: bytes = conn.sock.recv(_PEEKED_BYTES, socket.MSG_PEEK)
        return read_ahead(conn) + peeked
    except BlockingIOError:
        return read_ahead(conn) or None
    except OSError:
        return None


def has_read_ahead(conn: TConn) -> bool:
    """Whether there are such bytes."""
    return bool(read_ahead(conn))


def _is_too_long(name: str, text: str) -> bool:
    # Anything but a number is the parser's to refuse, and has been.
    return name == "CONTENT-LENGTH" and int(text) > MAX_BODY_BYTES


def read_ahead(conn: TConn) -> bytes:
    """Bytes of the next request that have left the socket already."""
    return b"" if conn.parser is None else conn.parser.unreader.buf.getvalue()


def _bound_calls(sock: socket.socket) -> None:
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, _CALL_TIMEOUT)
