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
from core.config import load_settings
from core.logs import request_id
from core.steps import Aside, Carrier, Router, SlowStep, Step, Steps, take_aside
from web import cors, early_refusal, plain_http
from web.bounded_worker import BoundedWorker, Line
from web.channel import MAX_COMMANDS, SLOW_SECONDS, Channel
from web.express import ExpressLane, Response
from web.patient_worker import has_read_ahead, read_ahead
from web.plain_http import length_of_plain

log = structlog.get_logger(__name__)

# Taken up and waiting for a Redis that answers.
MAX_UNDER_WAY = MAX_COMMANDS


class _Arrival(NamedTuple):
    """A request for the lane that is still in its socket; `at` is monotonic."""

    conn: TConn
    request: bytes
    at: float


class _Turn:
    """A request that is being answered, and its id, which its log lines and jobs carry."""

    __slots__ = ("calls", "conn", "request_id", "steps")

    def __init__(self, conn: TConn, steps: Steps[Response], calls: Router) -> None:
        self.conn = conn
        self.steps = steps
        self.calls = calls
        self.request_id = ""


class FlashWorker(BoundedWorker):
    """A bounded worker with an express lane in its main loop."""

    def run(self) -> None:
        """Serve until told to stop."""
        settings = load_settings()
        lane = getattr(self.wsgi, "wsgi_app", None)
        has_lane = isinstance(lane, ExpressLane) and not self.cfg.is_ssl
        self._lane = lane if has_lane else None
        if isinstance(lane, ExpressLane):
            early_refusal.let_origins_read(cors.headers_of(self.wsgi))
        self._arrived: deque[_Arrival] = deque()
        self._channels: dict[int, Channel[_Turn]] = {}
        slow_pool = ThreadPoolExecutor(self.cfg.threads, "slow")
        self._slow = Line(slow_pool, settings.max_queue_wait_seconds)
        # Those who wait for a step that a thread takes for another, since when, by the step.
        self._slow_calls: dict[object, deque[tuple[float, _Turn]]] = {}
        try:
            super().run()
        finally:
            slow_pool.shutdown(wait=False)

    def take(self, conn: TConn, start: bytes | None) -> None:
        """Keep the request for the main loop when it is for the lane."""
        length = None if start is None else length_of_plain(start)
        # Behind what a thread has read too far, the socket does not start with a request.
        if has_read_ahead(conn) and length != len(read_ahead(conn)):
            length = None
        if start is None or length is None or self._lane is None or not self.alive:
            super().take(conn, start)
        elif self._wait_seconds() > self.max_wait_seconds / 2:
            self.refuse(conn)
        else:
            self._arrived.append(_Arrival(conn, start[:length], time.monotonic()))

    def is_idle(self) -> bool:
        """Whether nothing waits."""
        waits = self._arrived or self._slow_calls or self._is_a_channel_waited_for()
        return not waits and super().is_idle()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Handle what happens, and answer what has arrived."""
        if self._arrived:
            # What they wait for may turn out to be slow.
            timeout = min(timeout, SLOW_SECONDS)
        super().wait_for_and_dispatch_events(timeout)
        self._give_up_late()
        while self._arrived and self._under_way() < MAX_UNDER_WAY:
            self._take_up(self._arrived.popleft())
        for channel in self._channels.values():
            channel.send()

    def _wait_seconds(self) -> float:
        """For how long the first in the line has waited."""
        return time.monotonic() - self._arrived[0].at if self._arrived else 0.0

    def _is_a_channel_waited_for(self) -> bool:
        return any(channel.is_waited_for for channel in self._channels.values())

    def _under_way(self) -> int:
        return sum(channel.load for channel in self._channels.values() if not channel.is_slow)

    def _take_up(self, arrival: "_Arrival") -> None:
        conn = arrival.conn
        turn = self._begin(arrival) if self.has_room_to_keep() else None
        if turn is None:
            super().take(conn, arrival.request)
        elif _consume(conn, arrival.request):
            self._count_request()
            self._advance(turn, partial(next, turn.steps))
        else:
            self.close(conn)

    def _begin(self, arrival: "_Arrival") -> "_Turn | None":
        """The request in steps; None when it is not for the lane after all."""
        environ = plain_http.environ_of(arrival.request, arrival.conn.client, self.cfg)
        work = self._lane.work_on(environ) if environ and self._lane else None
        return _Turn(arrival.conn, work.steps, work.calls) if work else None

    def _channel_to(self, carrier: Carrier) -> "Channel[_Turn]":
        channel = self._channels.get(id(carrier))
        if channel is None:

            def deliver(turns: list[_Turn], replies: list[object]) -> None:
                self.method_queue.defer(self._go_on, channel, turns, replies)

            channel = self._channels[id(carrier)] = Channel(carrier, deliver)
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
                self.send(turn.conn, answer, self.go_on)
        # What the main loop logs by itself is no request's.
        request_id.set("")

    def _answer_after(self, turn: _Turn, take_step: Callable[[], Step]) -> bytes | None:
        """The answer; None while the turn waits for something more."""
        try:
            step = take_step()
            turn.request_id = request_id.get()
            while not self._waits_for(turn, step):
                step = turn.steps.send(None)
        except StopIteration as stop:
            return plain_http.bytes_of(stop.value)
        return None

    def _waits_for(self, turn: _Turn, step: Step) -> bool:
        """Have the step taken; whether the turn must wait for that."""
        if isinstance(step, Aside):
            self._slow.submit(_call, partial(take_aside, step), turn.request_id)
            return False
        if callable(step):
            self._take_slowly(turn, step)
            return True
        channel = self._channel_to(turn.calls.carrier_of(step))
        if channel.is_stuck:
            self.method_queue.defer(self._resume, turn, _nothing_sent())
        else:
            channel.add(turn, step)
        return True

    def _take_slowly(self, turn: _Turn, step: SlowStep) -> None:
        """Have a thread take this step, unless one does already; go on when it is done."""
        key = _identity(step)
        if key in self._slow_calls:
            self._slow_calls[key].append((time.monotonic(), turn))
            return
        future = self._slow.submit(_call, step, turn.request_id)
        # Not before: were there no thread to be had, nobody would ever go on.
        self._slow_calls[key] = deque()
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
        """Let nobody wait too long to be taken up, for a pipeline, for a thread, or for another's
        slow step.
        """
        while self._wait_seconds() > self.max_wait_seconds:
            self.refuse(self._arrived.popleft().conn)
        stuck = [channel for channel in self._channels.values() if channel.is_slow]
        for channel in stuck:
            for turn in channel.late(self.max_wait_seconds):
                self._resume(turn, _nothing_sent())
        self._slow.give_up_late()
        give_up_since = time.monotonic() - self.max_wait_seconds
        # Copied, for who goes on may ask for another slow step. And each gets an error of its own:
        # one kept for all would keep the frames of everybody it was ever thrown into.
        for joined in tuple(self._slow_calls.values()):
            while joined and joined[0][0] < give_up_since:
                self._resume(joined.popleft()[1], errors.TemporarilyUnavailable())


def _consume(conn: TConn, request: bytes) -> bool:
    """Take what was looked at. False when the client has broken off."""
    if has_read_ahead(conn):
        return bool(conn.parser.unreader.take_buffered() == request)
    try:
        return bool(conn.sock.recv(len(request)) == request)
    except OSError:
        return False


def _nothing_sent() -> Exception:
    return errors.NothingSent("Redis takes too long.")


def _call(step: SlowStep, name: str) -> Any:
    """In a thread: take the step for the request of this id."""
    request_id.set(name)
    return step()


def _identity(step: SlowStep) -> object:
    """What is equal of two steps that do the same."""
    if isinstance(step, partial):
        return step.func, step.args
    return step
