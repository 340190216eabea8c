"""What asynchronous work runs on: an event loop, and threads for what it must not wait for."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from threading import Lock, Thread
from typing import Any, TypeVar

import structlog

from core import errors

log = structlog.get_logger(__name__)

T = TypeVar("T")
Call = tuple[Callable[..., Any], tuple[Hashable, ...]]
Closer = Callable[[], Awaitable[None]]


class Background:
    """Takes blocking calls in threads. Equal calls that are asked for at once are one."""

    def __init__(self, *, threads: int, max_wait_seconds: float) -> None:
        self._threads = threads
        self._max_wait_seconds = max_wait_seconds
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0
        self._under_way: dict[Call, asyncio.Future[Any]] = {}

    async def run(self, function: Callable[..., T], *args: Hashable) -> T:
        """What the function gives. Raises what it raises, and TemporarilyUnavailable when
        that takes too long; the call goes on then.
        """
        call = self._share(function, args)
        seconds = None if self._max_wait_seconds == float("inf") else self._max_wait_seconds
        try:
            value: T = await asyncio.wait_for(asyncio.shield(call), seconds)
        except TimeoutError:
            raise errors.TemporarilyUnavailable from None
        return value

    def leave(self, function: Callable[..., Any], *args: Hashable) -> None:
        """Have it called, and wait for nothing. What goes wrong is for the log alone."""
        self._share(function, args).add_done_callback(_log_failure)

    def close(self) -> None:
        """Take no more calls."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _share(self, function: Callable[..., Any], args: tuple[Hashable, ...]) -> Any:
        # Threads do not outlive a fork.
        if self._pool is None or self._process != os.getpid():
            self._pool = ThreadPoolExecutor(self._threads, "background")
            self._process = os.getpid()
            self._under_way.clear()
        call = (function, args)
        future = self._under_way.get(call)
        if future is None:
            # Its log lines and jobs carry the id of the request that asked first.
            work = partial(copy_context().run, function, *args)
            future = asyncio.get_running_loop().run_in_executor(self._pool, work)
            self._under_way[call] = future
            future.add_done_callback(partial(self._forget, call))
        return future

    def _forget(self, call: Call, future: "asyncio.Future[Any]") -> None:
        self._under_way.pop(call, None)
        # Whoever waited may have gone: an error that nobody asks for is no news to asyncio.
        _ = future.cancelled() or future.exception()


def _log_failure(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled() and (error := future.exception()):
        log.error("background_call_failed", exc_info=error)


class EventLoop:
    """Runs coroutines for threads: in the server's loop, or where there is none, in its own."""

    def __init__(self) -> None:
        self._mutex = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._own: _LoopThread | None = None
        self._closers: list[Closer] = []

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run everything in this loop from now on."""
        if loop is self._loop:
            return
        # What is connected in one loop is of no use in another.
        self.close()
        self._loop, self._process = loop, os.getpid()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises. Not for the loop's own thread, which would wait
        for itself.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._running()).result()

    def at_end(self, closer: Closer) -> None:
        """Have this called in the loop before it ends, if it is one of its own."""
        self._closers.append(closer)

    def close(self) -> None:
        """End the loop, if it is one of its own. Whoever waits for a coroutine is told."""
        with self._mutex:
            # In a fork's child its thread is not there.
            if self._own is not None and self._process == os.getpid():
                self._own.end()
            self._loop = self._own = None

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._mutex:
            # A loop does not outlive a fork.
            if self._loop is None or self._process != os.getpid():
                self._own = _LoopThread(self._closers)
                self._loop, self._process = self._own.loop, os.getpid()
            return self._loop


class _LoopThread:
    """A thread with a loop in it."""

    def __init__(self, closers: Sequence[Closer]) -> None:
        self._closers = closers
        begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = Thread(
            target=lambda: asyncio.run(self._live(begun)), name="event-loop", daemon=True
        )
        self._thread.start()
        self.loop, self._must_end = begun.result()

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self._must_end.set)
        self._thread.join()

    async def _live(self, begun: "Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]") -> None:
        must_end = asyncio.Event()
        begun.set_result((asyncio.get_running_loop(), must_end))
        await must_end.wait()
        for closer in self._closers:
            await closer()


@dataclass(frozen=True, slots=True)
class Runtime:
    """What one process's asynchronous services share."""

    loop: EventLoop
    background: Background
    # How long anything waits to be taken up.
    max_wait_seconds: float

    @classmethod
    def create(cls, *, threads: int, max_wait_seconds: float) -> "Runtime":
        """Starts nothing before it is used."""
        background = Background(threads=threads, max_wait_seconds=max_wait_seconds)
        return cls(EventLoop(), background, max_wait_seconds)

    def close(self) -> None:
        """End its threads."""
        self.loop.close()
        self.background.close()
