"""Gunicorn's worker for a flash: its main loop answers bids and board pages itself.

A thread for each request costs more than all the work on a bid: two changes of threads
for gunicorn, two more to wait for Redis. So the main loop takes up what has arrived, takes
the steps of many requests (web/express.py) as far as Redis, sends their commands as one
pipeline, and goes on with all of them when the replies are there. It never waits: what
may take long, PostgreSQL or the broker, is left to threads, and so is every other request.
"""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import structlog
from gunicorn.workers.gthread import TConn

from core import errors
from core.combiner import CallCombiner
from core.config import load_settings
from core.logs import request_id
from core.steps import Caller, SlowStep, Step, Steps
from web import cors, early_refusal, plain_http
from web.bounded_worker import BoundedWorker, Line, has_read_ahead, peek
from web.channel import Channel
from web.express import ExpressLane, Response

log = structlog.get_logger(__name__)

# Taken up and waiting for Redis. More would make the first wait for the last; fewer would
# share a flush of Redis's log among fewer.
MAX_UNDER_WAY = 128
_SEND_TIMEOUT_SECONDS = 10.0


class _Arrival(NamedTuple):
    """A request for the lane that is still in its socket; `at` is monotonic."""

    conn: TConn
    request: bytes
    at: float


class _Turn:
    """A request that is being answered, and its id, which its log lines and jobs carry."""

    __slots__ = ("channel", "conn", "request_id", "steps")

    def __init__(self, conn: TConn, steps: Steps[Response], channel: "Channel[_Turn]") -> None:
        self.conn = conn
        self.steps = steps
        self.channel = channel
        self.request_id = ""


class FlashWorker(BoundedWorker):
    """A bounded worker with an express lane in its main loop."""

    def run(self) -> None:
        """Serve until told to stop."""
        settings = load_settings()
        lane = getattr(self.wsgi, "wsgi_app", None)
        # On a cluster a node that hangs must hold up its own sessions only: threads can wait.
        has_lane = not (settings.redis_cluster or self.cfg.is_ssl)
        self._lane = lane if has_lane and isinstance(lane, ExpressLane) else None
        if isinstance(lane, ExpressLane):
            early_refusal.let_origins_read(cors.headers_of(self.wsgi))
        self._arrived: deque[_Arrival] = deque()
        self._channels: dict[int, Channel[_Turn]] = {}
        slow_pool = ThreadPoolExecutor(self.cfg.threads, "slow")
        self._slow = Line(slow_pool, settings.max_queue_wait_seconds)
        # Those who wait for a step that a thread takes for another, since when, by the step.
        self._slow_calls: dict[object, deque[tuple[float, _Turn]]] = {}
        self._senders = ThreadPoolExecutor(self.cfg.threads, "sender")
        try:
            super().run()
        finally:
            slow_pool.shutdown(wait=False)
            self._senders.shutdown(wait=False)

    def take(self, conn: TConn) -> None:
        """Keep the request for the main loop when it is for the lane."""
        # Behind what a thread has read too far, the socket does not start with a request.
        start = None if has_read_ahead(conn) else peek(conn)
        length = plain_http.length_of_plain(start) if start else None
        if start == b"":
            self.close(conn)
        elif start is None or length is None or self._lane is None or not self.alive:
            super().take(conn)
        elif self._wait_seconds() > self.max_wait_seconds / 2:
            self.refuse(conn)
        else:
            self._arrived.append(_Arrival(conn, start[:length], time.monotonic()))

    def is_idle(self) -> bool:
        """Whether nothing waits."""
        return not (self._arrived or self._slow_calls) and super().is_idle()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Handle what happens, and answer what has arrived."""
        super().wait_for_and_dispatch_events(timeout)
        self._give_up_late()
        while self._arrived and self._under_way() < MAX_UNDER_WAY:
            self._take_up(self._arrived.popleft())
        for channel in self._channels.values():
            channel.send()

    def _wait_seconds(self) -> float:
        """For how long the first in the line has waited."""
        return time.monotonic() - self._arrived[0].at if self._arrived else 0.0

    def _under_way(self) -> int:
        return sum(channel.load for channel in self._channels.values())

    def _take_up(self, arrival: "_Arrival") -> None:
        conn = arrival.conn
        turn = self._begin(arrival) if self.has_room_to_keep() else None
        if turn is None:
            super().take(conn)
        elif _consume(conn, arrival.request):
            self._count_request()
            self._advance(turn, partial(next, turn.steps))
        else:
            self.close(conn)

    def _begin(self, arrival: "_Arrival") -> "_Turn | None":
        """The request in steps; None when it is not for the lane after all."""
        environ = plain_http.environ_of(arrival.request, arrival.conn.client, self.cfg)
        work = self._lane.work_on(environ) if environ and self._lane else None
        return _Turn(arrival.conn, work.steps, self._channel_of(work.calls)) if work else None

    def _channel_of(self, calls: Caller) -> "Channel[_Turn]":
        channel = self._channels.get(id(calls))
        if channel is None:
            assert isinstance(calls, CallCombiner)  # noqa: S101 - a cluster has no lane

            def deliver(turns: list[_Turn], replies: list[object]) -> None:
                self.method_queue.defer(self._go_on, channel, turns, replies)

            channel = self._channels[id(calls)] = Channel(calls, deliver)
        return channel

    def _count_request(self) -> None:
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False

    def _go_on(self, channel: "Channel[_Turn]", turns: list[_Turn], replies: list[object]) -> None:
        channel.arrived()
        for turn, reply in zip(turns, replies, strict=True):
            self._resume(turn, reply)

    def _resume(self, turn: _Turn, reply: object) -> None:
        request_id.set(turn.request_id)
        go_on_with = turn.steps.throw if isinstance(reply, Exception) else turn.steps.send
        self._advance(turn, partial(go_on_with, reply))

    def _advance(self, turn: _Turn, take_step: Callable[[], Step]) -> None:
        """Go on with a request until it waits again, or is answered."""
        try:
            answer = self._answer_after(turn, take_step)
        except Exception:
            log.exception("lane_failed")
            self.close(turn.conn)
        else:
            if answer is not None:
                self._send(turn.conn, answer)
        # What the main loop logs by itself is no request's.
        request_id.set("")

    def _answer_after(self, turn: _Turn, take_step: Callable[[], Step]) -> bytes | None:
        """The answer; None while the turn waits for something more."""
        try:
            step = take_step()
        except StopIteration as stop:
            return plain_http.bytes_of(stop.value)
        turn.request_id = request_id.get()
        if callable(step):
            self._take_slowly(turn, step)
        else:
            turn.channel.add(turn, step)
        return None

    def _take_slowly(self, turn: _Turn, step: SlowStep) -> None:
        """Have a thread take this step, unless one does already; go on when it is done."""
        key = _identity(step)
        if key in self._slow_calls:
            self._slow_calls[key].append((time.monotonic(), turn))
            return
        self._slow_calls[key] = deque()
        future = self._slow.submit(_call, step, turn.request_id)
        done = partial(self._slowly_taken, key, turn)
        future.add_done_callback(partial(self.method_queue.defer, done))

    def _slowly_taken(self, key: object, turn: _Turn, future: "Future[Any]") -> None:
        if future.cancelled():
            reply: object = errors.TemporarilyUnavailable()
        else:
            reply = future.exception() or future.result()
        for each in (turn, *(joined for _, joined in self._slow_calls.pop(key))):
            self._resume(each, reply)

    def _give_up_late(self) -> None:
        """Let nobody wait too long to be taken up, for a thread, or for another's slow step."""
        while self._wait_seconds() > self.max_wait_seconds:
            self.refuse(self._arrived.popleft().conn)
        self._slow.give_up_late()
        give_up_since = time.monotonic() - self.max_wait_seconds
        # Copied, for who goes on may ask for another slow step. And each gets an error of its own:
        # one kept for all would keep the frames of everybody it was ever thrown into.
        for joined in tuple(self._slow_calls.values()):
            while joined and joined[0][0] < give_up_since:
                self._resume(joined.popleft()[1], errors.TemporarilyUnavailable())

    def _send(self, conn: TConn, answer: bytes) -> None:
        try:
            sent = conn.sock.send(answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close(conn)
            return
        if sent == len(answer):
            self.keep(conn)
        else:
            self._senders.submit(self._send_rest, conn, answer[sent:])

    def _send_rest(self, conn: TConn, rest: bytes) -> None:
        """In a thread: to a client that reads slowly."""
        finish: Callable[[Any], None] = self.keep
        try:
            conn.sock.settimeout(_SEND_TIMEOUT_SECONDS)
            conn.sock.sendall(rest)
            conn.sock.setblocking(False)
        except OSError:
            finish = self.close
        self.method_queue.defer(finish, conn)


def _consume(conn: TConn, request: bytes) -> bool:
    """Take what was looked at from the socket. False when the client has broken off."""
    try:
        return bool(conn.sock.recv(len(request)) == request)
    except OSError:
        return False


def _call(step: SlowStep, name: str) -> Any:
    """In a thread: take the step for the request of this id."""
    request_id.set(name)
    return step()


def _identity(step: SlowStep) -> object:
    """What is equal of two steps that do the same."""
    if isinstance(step, partial):
        return step.func, step.args
    return step
