"""The leaderboard: provisional from Redis while a session runs, then final from PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from redis import Redis
from sqlalchemy import select

from core import errors
from core.bidding.batches import Batches, NotSent
from core.bidding.session_lookup import SessionLookup
from core.postgres.database import Database
from core.postgres.models import Ranking
from core.redis import clock, keys, scripts
from core.redis.calls import Calls, ClusterCalls
from core.redis.scripts import Outcome, Script
from core.rules import scoring
from core.rules.lifecycle import Status, status_at
from core.runtime import Runtime
from core.sessions.loading import SessionLoader
from core.sessions.results import RankedEntry, count_bidders, entries, pages
from core.sessions.sessions import Sessions, SessionView

# Fields of the params hash that change with the board; every bid advances `sequence`.
_STATE_FIELDS = ("status", "start", "end", "sequence", "final")

# Per board; any number above the connections of one process will do.
_MAX_ASKERS = 10_000

State = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class BoardPage:
    """One page of a session's board. `threshold_score`: the last winning place's score."""

    session_id: UUID
    status: Status
    provisional: bool
    leaderboard: Sequence[RankedEntry]
    highest_bid: Decimal | None
    threshold_score: float | None
    page: int
    page_size: int
    total_count: int
    end_time: datetime
    server_time: datetime

    @property
    def total_pages(self) -> int:
        """The number of pages."""
        return pages(self.total_count, self.page_size)


@dataclass(frozen=True, slots=True)
class Standing:
    """One member's place on the board."""

    rank: int
    score: float
    price: Decimal
    is_winner: bool
    threshold_score: float
    total_count: int


class Board:
    """Reads boards."""

    def __init__(
        self,
        database: Database,
        redis: Redis,
        sessions: Sessions,
        loader: SessionLoader,
        *,
        runtime: Runtime,
        calls: Calls | ClusterCalls,
    ) -> None:
        self._database = database
        self._redis = redis
        self._calls = calls
        self._sessions = sessions
        self._loader = loader
        self._background, self._loop = runtime.background, runtime.loop
        seconds = runtime.max_wait_seconds
        self._lookup = SessionLookup(database, self._background, max_wait_seconds=seconds)
        self._states: Batches[UUID, None, State] = Batches(
            self._ask_state, max_items=_MAX_ASKERS, max_wait_seconds=seconds
        )

    async def state(self, session_id: UUID) -> State:
        """A value that changes with the board, except for the server time. Concurrent callers
        share one Redis call.
        """
        try:
            return await self._states.ask(session_id, None)
        except NotSent:
            raise errors.TemporarilyUnavailable from None

    def page(self, session_id: UUID, *, page: int, page_size: int) -> BoardPage:
        """One page of the board, read at one instant."""
        return self._loop.run(self.read_page(session_id, page=page, page_size=page_size))

    async def read_page(self, session_id: UUID, *, page: int, page_size: int) -> BoardPage:
        """`page` for an event loop."""
        first = (page - 1) * page_size
        reply = await self._read(
            scripts.read_board,
            [keys.session_params(session_id), keys.ranking(session_id)],
            [keys.standing_bid_prefix(session_id), first, first + page_size - 1],
            session_id,
        )
        if reply is None:
            return await self._background.run(self._final_page, session_id, page, page_size)
        return _provisional_page(session_id, reply, page, page_size)

    def standing(self, session_id: UUID, user_id: UUID) -> Standing:
        """A member's place. Raises NoBid if there is none, and SessionCancelled."""
        reply = self._loop.run(
            self._read(
                scripts.read_standing,
                [
                    keys.session_params(session_id),
                    keys.ranking(session_id),
                    keys.standing_bid(session_id, user_id),
                ],
                [str(user_id)],
                session_id,
            )
        )
        if reply is None:
            return self._final_standing(self._sessions.get(session_id), user_id)
        if reply[0] == Outcome.NO_BID:
            raise errors.NoBid
        _, rank, score, price, inventory, threshold, count = reply
        return Standing(
            rank=rank,
            score=float(score),
            price=Decimal(price),
            is_winner=scoring.is_winning(rank, int(inventory)),
            threshold_score=float(threshold),
            total_count=count,
        )

    async def _ask_state(self, session_id: UUID, askers: Sequence[None]) -> list[State]:
        state: State = await self._calls.execute(
            "HMGET", keys.session_params(session_id), *_STATE_FIELDS
        )
        return [state] * len(askers)

    async def _read(
        self, script: Script, names: list[str], args: list[Any], session_id: UUID
    ) -> list[Any] | None:
        """A script's reply; None if the results are final, in PostgreSQL."""
        reply = await script.call(self._calls.execute, names, args)
        if reply[0] == Outcome.UNKNOWN_SESSION:
            await self._lookup.require(session_id)
            try:
                await self._background.run(self._loader.load, session_id)
            except errors.SessionEnded:
                return None
            reply = await script.call(self._calls.execute, names, args)
        if reply[0] == Outcome.UNKNOWN_SESSION:
            raise errors.TemporarilyUnavailable
        return None if reply[0] == Outcome.FINAL else reply

    def _final_page(self, session_id: UUID, page: int, page_size: int) -> BoardPage:
        session = self._sessions.get(session_id)
        first = (page - 1) * page_size + 1
        with self._database.begin() as db:
            count = count_bidders(db, session.session_id)
            last_winner = min(count, session.inventory)
            threshold = entries(db, session, first=last_winner, last=last_winner)
            return BoardPage(
                session_id=session.session_id,
                status=session.status,
                provisional=False,
                leaderboard=entries(db, session, first=first, last=first + page_size - 1),
                highest_bid=session.highest_bid,
                threshold_score=threshold[0].score if threshold else None,
                page=page,
                page_size=page_size,
                total_count=count,
                end_time=session.end_time,
                server_time=clock.now(self._redis),
            )

    def _final_standing(self, session: SessionView, user_id: UUID) -> Standing:
        if session.status is Status.CANCELLED:
            raise errors.SessionCancelled
        with self._database.begin() as db:
            own = db.scalar(
                select(Ranking).where(
                    Ranking.session_id == session.session_id, Ranking.user_id == user_id
                )
            )
            if own is None:
                raise errors.NoBid
            count = count_bidders(db, session.session_id)
            last_winner = min(count, session.inventory)
            [threshold] = entries(db, session, first=last_winner, last=last_winner)
            return Standing(
                rank=own.rank,
                score=own.score,
                price=own.price,
                is_winner=scoring.is_winning(own.rank, session.inventory),
                threshold_score=threshold.score,
                total_count=count,
            )


def _provisional_page(session_id: UUID, reply: list[Any], page: int, page_size: int) -> BoardPage:
    _, stored, start, end, now, inventory, highest_bid, count, threshold, *bids = reply
    start_time, end_time, server_time = (
        clock.from_microseconds(int(moment)) for moment in (start, end, now)
    )
    first_rank = (page - 1) * page_size + 1
    return BoardPage(
        session_id=session_id,
        status=status_at(Status(stored), start_time, end_time, server_time),
        provisional=True,
        leaderboard=[
            RankedEntry(
                rank=rank,
                user_id=UUID(user_id),
                username=username,
                price=Decimal(price),
                score=float(score),
                is_winner=scoring.is_winning(rank, int(inventory)),
            )
            for rank, (user_id, username, price, score) in enumerate(bids, start=first_rank)
        ],
        highest_bid=None if highest_bid is None else Decimal(highest_bid),
        threshold_score=None if threshold is None else float(threshold),
        page=page,
        page_size=page_size,
        total_count=count,
        end_time=end_time,
        server_time=server_time,
    )
