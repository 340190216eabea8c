"""Board pages as bytes, made once for each state of the board and process.

Everybody reads the board and a bid changes it only now and then, so a page is kept as it
went out. It is never stale: each reading first asks Redis for the state of the session,
one small command that requests of one moment share, and a page of another state is made
anew. Only `server_time` is written into each answer.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
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
from web.http.answers import encode

_MAX_PAGES = 500
# Of one page at one moment; more than a process has connections would do as well.
_MAX_ASKERS = 10_000
# A clock that drifts against the one of Redis is set right as often.
_MAX_AGE_SECONDS = 1.0

Key = tuple[UUID, int, int]


@dataclass(frozen=True, slots=True)
class KeptPage:
    """A page's bytes up to its server_time, and how long they are good."""

    state: State
    text: bytes
    server_time: datetime
    begun_at: float
    made_at: float
    good_seconds: float
    is_final: bool

    def is_good(self, state: State, asked_at: float) -> bool:
        """Whether it shows the state, or was read after it was asked for."""
        is_current = self.state == state or self.begun_at >= asked_at
        return is_current and time.monotonic() - self.made_at < self.good_seconds

    def at(self, now: float) -> bytes:
        """The page as it is at this monotonic moment."""
        server_time = self.server_time + timedelta(seconds=now - self.made_at)
        return b'%b,"server_time":"%b"}' % (self.text, server_time.isoformat().encode())


class BoardPages:
    """Keeps the pages that were asked for last."""

    def __init__(self, board: Board, *, max_wait_seconds: float) -> None:
        self._board = board
        self._kept: OrderedDict[Key, KeptPage] = OrderedDict()
        self._makings: Batches[Key, tuple[State, float], KeptPage] = Batches(
            self._make, max_items=_MAX_ASKERS, max_wait_seconds=max_wait_seconds
        )

    async def read(self, session_id: UUID, *, page: int, page_size: int) -> bytes:
        """A page's JSON. Raises SessionNotFound."""
        return (await self.current(session_id, page=page, page_size=page_size)).at(time.monotonic())

    async def current(self, session_id: UUID, *, page: int, page_size: int) -> KeptPage:
        """A page that is up to date. Raises SessionNotFound."""
        asked_at = time.monotonic()
        key = (session_id, page, page_size)
        state = await self._board.state(session_id)
        kept = self._kept.get(key)
        if kept is None or not kept.is_good(state, asked_at):
            try:
                kept = await self._makings.ask(key, (state, asked_at))
            except NotSent:
                raise errors.TemporarilyUnavailable from None
        return kept

    async def _make(self, key: Key, askers: Sequence[tuple[State, float]]) -> list[KeptPage]:
        """The page is read after its state: it can be newer than that, never older."""
        kept = self._kept.get(key)
        if kept is None or not all(kept.is_good(*asker) for asker in askers):
            newest_state, _ = askers[-1]
            kept = await self._read_anew(key, newest_state)
        return [kept] * len(askers)

    async def _read_anew(self, key: Key, state: State) -> KeptPage:
        session_id, page, page_size = key
        begun_at = time.monotonic()
        found = await self._board.read_page(session_id, page=page, page_size=page_size)
        kept = KeptPage(
            state=state,
            text=encode(document_of(found))[:-1],
            server_time=found.server_time,
            begun_at=begun_at,
            made_at=time.monotonic(),
            good_seconds=_good_seconds(found),
            is_final=not found.provisional,
        )
        self._keep(key, kept)
        return kept

    def _keep(self, key: Key, kept: KeptPage) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        if len(self._kept) > _MAX_PAGES:
            self._kept.popitem(last=False)


def _good_seconds(page: BoardPage) -> float:
    """Until the clock alone changes the status, at the start or the end, or for a second."""
    if page.status is Status.SCHEDULED:
        return 0.0
    if page.status is Status.ENDED:
        return _MAX_AGE_SECONDS
    return min(_MAX_AGE_SECONDS, (page.end_time - page.server_time).total_seconds())


def document_of(page: BoardPage) -> dict[str, Any]:
    """What schemas.Board dumps of a page, except server_time, in a fraction of the time.

    Under a flash every page is made for each bid; a test holds this to the schema.
    """
    return {
        "session_id": str(page.session_id),
        "status": page.status.value,
        "provisional": page.provisional,
        "leaderboard": [_entry_of(entry) for entry in page.leaderboard],
        "highest_bid": _number(page.highest_bid),
        "threshold_score": page.threshold_score,
        "page": page.page,
        "page_size": page.page_size,
        "total_count": page.total_count,
        "total_pages": page.total_pages,
        "end_time": page.end_time.isoformat(),
    }


def _entry_of(entry: RankedEntry) -> dict[str, Any]:
    return {
        "rank": entry.rank,
        "user_id": str(entry.user_id),
        "username": entry.username,
        "price": float(entry.price),
        "score": entry.score,
        "is_winner": entry.is_winner,
    }


def _number(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
