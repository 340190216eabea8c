"""Bounds what waits for a thread: what would wait too long is refused at once."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from random import randint
from typing import TypeVar

import structlog

from core.telemetry import metrics
from web.guards.problems import OVERLOADED, problem_answer
from web.http.answers import Answer

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Spread, so that those who were refused together do not come back together.
RETRY_AFTER_MAX_SECONDS = 3
_LOG_INTERVAL_SECONDS = 5.0


class Overloaded(Exception):
    """No thread will be free in time."""


class ThreadQueue:
    """Threads, and requests that wait for one, each for `max_wait_seconds` at most."""

    def __init__(self, name: str, *, threads: int, max_wait_seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._free = asyncio.Semaphore(threads)
        self._max_wait_seconds = max_wait_seconds
        # Since when each has waited, the first one first.
        self._waiting: dict[object, float] = {}

    async def run(self, work: Callable[[], T]) -> T:
        """What the work gives, in a thread. Raises Overloaded before it begins."""
        await self._acquire()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, copy_context().run, work)
        finally:
            self._free.release()

    def close(self) -> None:
        """Take no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _acquire(self) -> None:
        now = time.monotonic()
        first = next(iter(self._waiting.values()), now)
        if now - first > self._max_wait_seconds / 2:
            raise Overloaded
        ticket = object()
        self._waiting[ticket] = now
        seconds = None if self._max_wait_seconds == float("inf") else self._max_wait_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError:
            raise Overloaded from None
        finally:
            del self._waiting[ticket]


class Refusals:
    """Answers what is refused under overload, and says so in the log now and then."""

    def __init__(self) -> None:
        self._count = 0
        self._said_at = 0.0

    def answer(self, request_id: str) -> Answer:
        """The refusal of one request."""
        metrics.REFUSED_EARLY.inc()
        self._count += 1
        now = time.monotonic()
        if now - self._said_at > _LOG_INTERVAL_SECONDS:
            log.warning("requests_refused_early", requests=self._count)
            self._count, self._said_at = 0, now
        answer = problem_answer(OVERLOADED, request_id)
        answer.headers["Retry-After"] = str(randint(1, RETRY_AFTER_MAX_SECONDS))  # noqa: S311 - no secret
        return answer
