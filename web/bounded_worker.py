"""A patient worker with a bound on how long a request waits for a thread.

Gunicorn lets requests wait without bound: under more load than a process can serve, each
answer would come later than the one before, until clients give up on answers that are
still being worked for. Here the age of the request that has waited longest says how full
the process is. Once it has waited half of the bound, what comes in is refused at once;
what has waited all of the bound is refused too. So whatever is served was taken up in
time, and a refusal costs the main loop a few microseconds.

`/health`, `/metrics` and the admin's calls have two threads of their own for that case.
"""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog
from gunicorn.workers.gthread import TConn

from core import metrics
from core.config import load_settings
from web import early_refusal, unreadable
from web.arrival import whole_length
from web.patient_worker import READ_BYTES, PatientWorker, has_read_ahead, start_of

log = structlog.get_logger(__name__)

SPARED_THREADS = 2
_LOG_INTERVAL_SECONDS = 5.0
# A refused connection is not listened to for so long. It was told to wait longer; a client
# that asks again at once would have the main loop take the time of the threads that serve.
REST_SECONDS = 0.5


class Line:
    """What waits for a thread of one pool, the oldest first."""

    def __init__(self, pool: ThreadPoolExecutor, max_wait_seconds: float) -> None:
        self._pool = pool
        self._max_wait_seconds = max_wait_seconds
        self._waiting: deque[tuple[float, Future[Any]]] = deque()

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Have a thread call this; cancelled when it waits too long."""
        future = self._pool.submit(function, *args)
        self._waiting.append((time.monotonic(), future))
        return future

    def is_slow(self) -> bool:
        """Whether what comes in now would wait too long."""
        return self._oldest_wait_seconds() > self._max_wait_seconds / 2

    def give_up_late(self) -> None:
        """Cancel what has waited too long. What a thread has taken up goes on."""
        while self._oldest_wait_seconds() > self._max_wait_seconds:
            self._waiting.popleft()[1].cancel()

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._oldest_wait_seconds() == 0

    def _oldest_wait_seconds(self) -> float:
        waiting = self._waiting
        while waiting and (waiting[0][1].running() or waiting[0][1].done()):
            waiting.popleft()
        return time.monotonic() - waiting[0][0] if waiting else 0.0


class BoundedWorker(PatientWorker):
    """A threaded worker that refuses early what it would serve too late."""

    def run(self) -> None:
        """Serve until told to stop."""
        self.max_wait_seconds = load_settings().max_queue_wait_seconds
        spared_pool = ThreadPoolExecutor(SPARED_THREADS, "spared")
        self._line = Line(self.tpool, self.max_wait_seconds)
        self._spared = Line(spared_pool, self.max_wait_seconds)
        self._resting: deque[tuple[float, TConn]] = deque()
        self._refused = 0
        self._said_at = 0.0
        try:
            super().run()
        finally:
            spared_pool.shutdown(wait=False)

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Tell a client why its request cannot be read."""
        unreadable.refuse(client, addr, exc)

    def take(self, conn: TConn, start: bytes | None) -> None:  # noqa: ARG002 - as it is called
        """Have a thread serve the connection's next request, or refuse it."""
        if self._line.is_slow():
            self.turn_away(conn)
        else:
            self._submit(self._line, conn, if_late=self.turn_away)

    def is_idle(self) -> bool:
        """Whether nothing waits for a thread."""
        return self._line.is_empty() and self._spared.is_empty()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Handle what happens, and refuse what has waited too long."""
        if self._resting:
            timeout = min(timeout, max(0.0, self._resting[0][0] - time.monotonic()))
        if not self.is_idle():
            timeout = min(timeout, self.max_wait_seconds / 2)
        super().wait_for_and_dispatch_events(timeout)
        self._line.give_up_late()
        self._spared.give_up_late()
        self._wake_rested()

    def _submit(self, line: Line, conn: TConn, *, if_late: Callable[[TConn], None]) -> None:
        def finish(future: "Future[Any]") -> None:
            if future.cancelled():
                self.method_queue.defer(if_late, conn)
            else:
                self.method_queue.defer(self.finish_request, conn, future)

        line.submit(self.handle, conn).add_done_callback(finish)

    def turn_away(self, conn: TConn) -> None:
        """Refuse a request, unless it is one of those that are spared."""
        if early_refusal.is_spared(start_of(conn) or b"") and not self._spared.is_slow():
            self._submit(self._spared, conn, if_late=self.refuse)
        else:
            self.refuse(conn)

    def refuse(self, conn: TConn) -> None:
        """Tell the client to come again later."""
        self._note_refusal()
        start = start_of(conn) or b""
        length = None if has_read_ahead(conn) else whole_length(start)
        keeps = length is not None and self.has_room_to_keep()
        try:
            if not has_read_ahead(conn):
                conn.sock.recv(length if keeps else READ_BYTES)
            conn.sock.send(early_refusal.answer(start, keeps_connection=keeps))
        except OSError:
            keeps = False
        if keeps:
            self._resting.append((time.monotonic() + REST_SECONDS, conn))
        else:
            self.linger(conn)

    def has_room_to_keep(self) -> bool:
        """Whether one more connection may stay open."""
        kept = len(self.keepalived_conns) + len(self._resting)
        return bool(self.alive and kept < self.max_keepalived)

    def _wake_rested(self) -> None:
        """Listen again to connections that were refused a while ago; close them when stopping."""
        now = time.monotonic()
        while self._resting and (self._resting[0][0] <= now or not self.alive):
            _, conn = self._resting.popleft()
            if self.alive:
                self.keep(conn)
            else:
                self.close(conn)

    def _note_refusal(self) -> None:
        metrics.REFUSED_EARLY.inc()
        self._refused += 1
        now = time.monotonic()
        if now - self._said_at > _LOG_INTERVAL_SECONDS:
            log.warning("requests_refused_early", requests=self._refused)
            self._refused, self._said_at = 0, now
