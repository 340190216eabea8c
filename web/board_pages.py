"""Board pages as bytes, made once for each state of the board and process.

Everybody reads the board and a bid changes it only now and then, so a page is kept as it
went out. It is never stale: each reading first asks Redis for the state of the session,
one small command that all waiting threads share, and a page of another state is made
anew. Only `server_time` is written into each answer.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Lock
from typing import Any
from uuid import UUID

from core.board import Board, BoardPage
from core.lifecycle import Status
from core.results import RankedEntry
from web.answers import encode

_MAX_PAGES = 500
# A clock that drifts against the one of Redis is set right as often.
_MAX_AGE_SECONDS = 1.0

Key = tuple[UUID, int, int]
State = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A page's bytes up to its server_time, and how long they are good."""

    state: State
    text: bytes
    server_time: datetime
    begun_at: float
    made_at: float
    good_seconds: float

    def is_good(self, state: State, asked_at: float) -> bool:
        """Whether it shows the state, or was read after it was asked for."""
        is_current = self.state == state or self.begun_at >= asked_at
        return is_current and time.monotonic() - self.made_at < self.good_seconds

    def at(self, now: float) -> bytes:
        server_time = self.server_time + timedelta(seconds=now - self.made_at)
        return b'%b,"server_time":"%b"}' % (self.text, server_time.isoformat().encode())


@dataclass(slots=True)
class _Slot:
    """The place of one page; its lock lets one thread make the page and the others wait."""

    lock: Lock = field(default_factory=Lock)
    kept: _Kept | None = None


class BoardPages:
    """Keeps the pages that were asked for last."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._slots: OrderedDict[Key, _Slot] = OrderedDict()
        self._mutex = Lock()

    def page(self, session_id: UUID, *, page: int, page_size: int) -> bytes:
        """A page's JSON. Raises SessionNotFound."""
        asked_at = time.monotonic()
        state = self._board.state(session_id)
        slot = self._slot((session_id, page, page_size))
        if (kept := _good(slot, state, asked_at)) is None:
            with slot.lock:
                if (kept := _good(slot, state, asked_at)) is None:
                    kept = self._make(session_id, page, page_size, state)
                    slot.kept = kept
        return kept.at(time.monotonic())

    def _slot(self, key: Key) -> _Slot:
        with self._mutex:
            slot = self._slots.get(key) or self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            if len(self._slots) > _MAX_PAGES:
                self._slots.popitem(last=False)
            return slot

    def _make(self, session_id: UUID, page: int, page_size: int, state: State) -> _Kept:
        """The page is read after its state: it can be newer than that, never older."""
        begun_at = time.monotonic()
        found = self._board.page(session_id, page=page, page_size=page_size)
        return _Kept(
            state=state,
            text=encode(document_of(found))[:-1],
            server_time=found.server_time,
            begun_at=begun_at,
            made_at=time.monotonic(),
            good_seconds=_good_seconds(found),
        )


def _good(slot: _Slot, state: State, asked_at: float) -> _Kept | None:
    kept = slot.kept
    return kept if kept and kept.is_good(state, asked_at) else None


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
