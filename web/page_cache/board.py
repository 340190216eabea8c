"""Encoded board pages, made once per board state and process.

The board is read far more often than bids change it, so encoded pages are cached. They are
never stale: each request first reads the session's state from Redis, with one small command
shared by concurrent requests, and a page of another state is read again. Only `server_time` is
added to each response.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from core import errors
from core.bidding.batches import Batches, NotSent
from core.bidding.board import Board, BoardPage, State
from core.rules.lifecycle import Status
from core.sessions.results import RankedEntry
from web.http.buckets import Buckets
from web.http.responses import encode

_MAX_PAGES = 500
# Concurrent requests for one page: the most connections that a process may have.
_MAX_WAITERS = 10_000
# Corrects a clock that drifts from Redis's this often.
_MAX_AGE_SECONDS = 1.0
# Final pages no longer change.
_MAX_FINAL_AGE_SECONDS = 60.0

Key = tuple[UUID, int, int]


@dataclass(frozen=True, slots=True)
class CachedPage:
    """A page encoded up to its server_time, and how long it stays fresh."""

    state: State
    text: bytes
    server_time: datetime
    read_started_at: float
    read_at: float
    fresh_seconds: float
    is_final: bool
    has_results: bool

    def is_fresh(self, state: State, asked_at: float) -> bool:
        """Whether the page shows the state, or was read after `asked_at`."""
        is_current = self.state == state or self.read_started_at >= asked_at
        return is_current and time.monotonic() - self.read_at < self.fresh_seconds

    def at(self, now: float) -> bytes:
        """The page's JSON at the monotonic time `now`."""
        server_time = self.server_time + timedelta(seconds=now - self.read_at)
        return b'%b,"server_time":"%b"}' % (self.text, server_time.isoformat().encode())


class BoardPages:
    """Caches the most recently requested pages."""

    def __init__(self, board: Board, misses: Buckets, *, max_wait_seconds: float) -> None:
        self._board, self._misses = board, misses
        # Reads of later pages pass one at a time, so that first pages and bids do not wait.
        self._gate = asyncio.Semaphore(1)
        self._max_wait_seconds = max_wait_seconds
        self._cache: OrderedDict[Key, CachedPage] = OrderedDict()
        self._reads: Batches[Key, tuple[State, float], CachedPage] = Batches(
            self._read_for, max_items=_MAX_WAITERS, max_wait_seconds=max_wait_seconds
        )

    async def read(self, session_id: UUID, *, page: int, page_size: int, reader: str) -> bytes:
        """A page's JSON. Raises SessionNotFound, and TooMany for a reader of too many pages
        that are not cached.
        """
        asked_at = time.monotonic()
        key = (session_id, page, page_size)
        state = await self._board.state(session_id)
        if page > 1 or state[0] is None:
            cached = await self._counted(key, state, asked_at, reader)
        else:
            # Shared by all: concurrent requests are one read.
            cached = await self._cached_or_read(key, state, asked_at)
        return cached.at(time.monotonic())

    async def current(self, session_id: UUID, *, page: int, page_size: int) -> CachedPage:
        """An up-to-date page. Raises SessionNotFound."""
        asked_at = time.monotonic()
        state = await self._board.state(session_id)
        return await self._cached_or_read((session_id, page, page_size), state, asked_at)

    async def _counted(self, key: Key, state: State, asked_at: float, reader: str) -> CachedPage:
        """Counts a later page that is not cached, and a session that does not exist."""
        if cached := self._fresh(key, state, asked_at):
            return cached
        self._misses.require(reader)
        try:
            async with self._turn():
                self._misses.require(reader)
                cached = await self._cached_or_read(key, state, asked_at)
        except errors.SessionNotFound:
            self._misses.take(reader)
            raise
        if key[1] > 1:
            self._misses.take(reader)
        return cached

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Raises ServiceBusy if the gate does not open in time."""
        try:
            async with asyncio.timeout(self._max_wait_seconds):
                await self._gate.acquire()
        except TimeoutError:
            raise errors.ServiceBusy from None
        try:
            yield
        finally:
            self._gate.release()

    def _fresh(self, key: Key, state: State, asked_at: float) -> CachedPage | None:
        cached = self._cache.get(key)
        return cached if cached is not None and cached.is_fresh(state, asked_at) else None

    async def _cached_or_read(self, key: Key, state: State, asked_at: float) -> CachedPage:
        try:
            return self._fresh(key, state, asked_at) or await self._reads.ask(
                key, (state, asked_at)
            )
        except NotSent:
            raise errors.TemporarilyUnavailable from None

    async def _read_for(self, key: Key, waiters: Sequence[tuple[State, float]]) -> list[CachedPage]:
        """The page is read after its state, so it may be newer but never older."""
        cached = self._cache.get(key)
        if cached is None or not all(cached.is_fresh(*waiter) for waiter in waiters):
            newest_state, _ = waiters[-1]
            cached = await self._read_from_redis(key, newest_state)
        return [cached] * len(waiters)

    async def _read_from_redis(self, key: Key, state: State) -> CachedPage:
        session_id, page, page_size = key
        read_started_at = time.monotonic()
        found = await self._board.read_page(session_id, page=page, page_size=page_size)
        cached = CachedPage(
            state=state,
            text=encode(document_of(found))[:-1],
            server_time=found.server_time,
            read_started_at=read_started_at,
            read_at=time.monotonic(),
            fresh_seconds=_fresh_seconds(found),
            is_final=not found.provisional,
            has_results=found.status is Status.ENDED and not found.provisional,
        )
        self._store(key, cached)
        return cached

    def _store(self, key: Key, cached: CachedPage) -> None:
        self._cache[key] = cached
        self._cache.move_to_end(key)
        if len(self._cache) > _MAX_PAGES:
            self._cache.popitem(last=False)


def _fresh_seconds(page: BoardPage) -> float:
    """Seconds until the status changes at the start or end, at most _MAX_AGE_SECONDS."""
    if not page.provisional:
        return _MAX_FINAL_AGE_SECONDS
    if page.status is Status.SCHEDULED:
        return 0.0
    if page.status is Status.ENDED:
        return _MAX_AGE_SECONDS
    return min(_MAX_AGE_SECONDS, (page.end_time - page.server_time).total_seconds())


def document_of(page: BoardPage) -> dict[str, Any]:
    """A page as schemas.Board dumps it, without server_time, in a fraction of the time.

    During a flash sale every bid changes the page. A test compares this with the schema.
    """
    return {
        "session_id": str(page.session_id),
        "status": page.status.value,
        "provisional": page.provisional,
        "leaderboard": [entry_of(entry) for entry in page.leaderboard],
        "highest_bid": number(page.highest_bid),
        "threshold_score": page.threshold_score,
        "page": page.page,
        "page_size": page.page_size,
        "total_count": page.total_count,
        "total_pages": page.total_pages,
        "end_time": page.end_time.isoformat(),
    }


def entry_of(entry: RankedEntry) -> dict[str, Any]:
    return {
        "rank": entry.rank,
        "user_id": str(entry.user_id),
        "username": entry.username,
        "price": float(entry.price),
        "score": entry.score,
        "is_winner": entry.is_winner,
    }


def number(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
