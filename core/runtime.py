"""The runtime of asynchronous services: an event loop, and threads for blocking calls."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from threading import Lock, Thread
from typing import Any, TypeVar

import structlog

from core import errors, outages

log = structlog.get_logger(__name__)

T = TypeVar("T")
Call = tuple[Callable[..., Any], tuple[Hashable, ...]]
Closer = Callable[[], Coroutine[Any, Any, None]]


class Background:
    """Runs blocking calls in threads. Equal concurrent calls are made once."""

    def __init__(self, *, threads: int, max_wait_seconds: float) -> None:
        self._threads = threads
        self._max_wait_seconds = max_wait_seconds
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0
        self._running_calls: dict[Call, asyncio.Future[Any]] = {}

    async def run(self, function: Callable[..., T], *args: Hashable) -> T:
        """The function's result. Raises its exceptions, and TemporarilyUnavailable if it takes
        too long; the call then continues.
        """
        call: asyncio.Future[T] = self._start_or_join(function, args)
        await asyncio.wait((call,), timeout=self._max_wait_seconds)
        if not call.done():
            raise errors.TemporarilyUnavailable
        return call.result()

    def start(self, function: Callable[..., Any], *args: Hashable) -> None:
        """Start the call without waiting for it. Errors are only logged."""
        self._start_or_join(function, args).add_done_callback(_log_failure)

    def close(self) -> None:
        """Drop pending calls and accept no more."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _start_or_join(self, function: Callable[..., Any], args: tuple[Hashable, ...]) -> Any:
        # Threads do not outlive a fork.
        if self._pool is None or self._process != os.getpid():
            self._pool = ThreadPoolExecutor(self._threads, "background")
            self._process = os.getpid()
            self._running_calls.clear()
        call = (function, args)
        future = self._running_calls.get(call)
        if future is None:
            # Its log lines and jobs have the id of the first request.
            work = partial(copy_context().run, function, *args)
            future = asyncio.get_running_loop().run_in_executor(self._pool, work)
            self._running_calls[call] = future
            future.add_done_callback(partial(self._forget, call))
        return future

    def _forget(self, call: Call, future: "asyncio.Future[Any]") -> None:
        self._running_calls.pop(call, None)
        # The caller may have gone: retrieve the error, or asyncio logs it as never retrieved.
        _ = future.cancelled() or future.exception()


def _log_failure(future: "asyncio.Future[Any]") -> None:
    error = None if future.cancelled() else future.exception()
    if isinstance(error, outages.ALL):
        log.warning("background_call_failed", reason=outages.reason_of(error))
    elif error is not None:
        log.error("background_call_failed", exc_info=error)


class EventLoop:
    """Runs coroutines for threads: in the server's loop, or in its own if there is none."""

    def __init__(self) -> None:
        self._mutex = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._own_thread: Thread | None = None
        self._closers: list[Closer] = []

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run everything in this loop from now on."""
        if loop is self._loop:
            return
        # Connections belong to one loop.
        self.close()
        self._loop, self._process = loop, os.getpid()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result. Deadlocks if called in the loop's own thread."""
        return self.start(coroutine).result()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run the coroutine without waiting for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._running())

    def on_close(self, closer: Closer) -> None:
        """Call `closer` in the loop before it ends, if the loop is its own."""
        self._closers.append(closer)

    def close(self) -> None:
        """End the loop, if it is its own, and cancel its coroutines."""
        with self._mutex:
            # A forked child does not have its thread.
            if self._own_thread and self._loop and self._process == os.getpid():
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._own_thread.join()
            self._loop = self._own_thread = None

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._mutex:
            # A loop does not outlive a fork.
            if self._loop is None or self._process != os.getpid():
                begun: Future[asyncio.AbstractEventLoop] = Future()
                self._own_thread = Thread(None, self._live, "event-loop", (begun,), daemon=True)
                self._own_thread.start()
                self._loop, self._process = begun.result(), os.getpid()
            return self._loop

    def _live(self, begun: "Future[asyncio.AbstractEventLoop]") -> None:
        """Run an own loop in this thread until it is stopped, then cancel its coroutines."""
        with asyncio.Runner() as runner:
            begun.set_result(runner.get_loop())
            runner.get_loop().run_forever()
            for closer in self._closers:
                runner.run(closer())


@dataclass(frozen=True, slots=True)
class Runtime:
    """Shared by the asynchronous services of one process."""

    loop: EventLoop
    background: Background
    # How long a request may wait for a thread or a call.
    max_wait_seconds: float

    @classmethod
    def create(cls, *, threads: int, max_wait_seconds: float) -> "Runtime":
        """Create a runtime; threads start on first use."""
        background = Background(threads=threads, max_wait_seconds=max_wait_seconds)
        return cls(EventLoop(), background, max_wait_seconds)

    def close(self) -> None:
        """End its threads."""
        self.loop.close()
        self.background.close()
