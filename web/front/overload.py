"""Limits the wait for a thread: requests that would wait too long are shed at once."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from random import randint
from typing import TypeVar

import structlog

from core import errors
from core.telemetry import metrics
from web.guards.problems import OVERLOADED, problem_response
from web.http.responses import ApiResponse

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Random, so that clients shed together do not retry together.
RETRY_AFTER_MAX_SECONDS = 3
_LOG_INTERVAL_SECONDS = 5.0


class ThreadQueue:
    """A thread pool whose callers wait at most `max_wait_seconds` for a thread."""

    def __init__(self, name: str, *, threads: int, max_wait_seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._free = asyncio.Semaphore(threads)
        self._max_wait_seconds = max_wait_seconds
        # When each request began to wait, oldest first.
        self._waiting: dict[object, float] = {}

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread; its result. Raises ServiceBusy instead of starting it."""
        await self._acquire()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, copy_context().run, work)
        finally:
            self._free.release()

    def close(self) -> None:
        """Accept no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _acquire(self) -> None:
        now = time.monotonic()
        oldest = next(iter(self._waiting.values()), now)
        if now - oldest > self._max_wait_seconds / 2:
            raise errors.ServiceBusy
        ticket = object()
        self._waiting[ticket] = now
        try:
            async with asyncio.timeout(self._max_wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise errors.ServiceBusy from None
        finally:
            del self._waiting[ticket]


class LoadShedder:
    """Responds to requests shed under overload; logs their number at intervals."""

    def __init__(self) -> None:
        self._count = 0
        self._logged_at = 0.0

    def shed(self, request_id: str) -> ApiResponse:
        """The response to one request."""
        metrics.REFUSED_EARLY.inc()
        self._count += 1
        now = time.monotonic()
        if now - self._logged_at > _LOG_INTERVAL_SECONDS:
            log.warning("requests_refused_early", requests=self._count)
            self._count, self._logged_at = 0, now
        response = problem_response(OVERLOADED, request_id)
        response.headers["Retry-After"] = str(randint(1, RETRY_AFTER_MAX_SECONDS))  # noqa: S311 - no secret
        return response


shedder = LoadShedder()
