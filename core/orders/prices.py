"""Writes what winners pay. A price once written never changes."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.postgres.models import BiddingSession, Ranking
from core.rules.pricing import OrderTerms, RankedBid, price_to_pay, rival_rank
from core.rules.scoring import terms_of

# Bounds memory and statements, however many items a session has, and what a join of one chunk
# costs when PostgreSQL has no statistics of new rankings yet.
_CHUNK_RANKS = 1000
_WRITE = text("""
    UPDATE rankings
       SET price_to_pay = priced.price
      FROM unnest(:ranks, CAST(:prices AS numeric[])) priced (rank, price)
     WHERE session_id = :session_id AND rankings.rank = ANY(:ranks)
       AND rankings.rank = priced.rank AND price_to_pay IS NULL
""")


def write_winners_prices(db: Session, session: BiddingSession) -> None:
    """Store what each winner of a session pays."""
    last = db.scalar(
        select(func.max(Ranking.rank)).where(
            Ranking.session_id == session.id, Ranking.rank <= session.inventory
        )
    )
    write_prices(db, session, range(1, (last or 0) + 1))


def write_prices(db: Session, session: BiddingSession, ranks: Sequence[int]) -> None:
    """Store what these ranks pay, where it is not stored yet."""
    terms = terms_of(session, OrderTerms)
    for first in range(0, len(ranks), _CHUNK_RANKS):
        _write_chunk(db, session, OrderTerms(**terms), ranks[first : first + _CHUNK_RANKS])


def _write_chunk(
    db: Session, session: BiddingSession, terms: OrderTerms, ranks: Sequence[int]
) -> None:
    rivals = {rank: rival_rank(rank, session.inventory) for rank in ranks}
    bids = _bids(db, session, {*rivals, *rivals.values()})
    prices = {
        rank: price_to_pay(terms, bids[rank], bids.get(rival)) for rank, rival in rivals.items()
    }
    db.execute(
        _WRITE,
        {"session_id": session.id, "ranks": list(prices), "prices": list(prices.values())},
    )


def _bids(db: Session, session: BiddingSession, ranks: Collection[int]) -> dict[int, RankedBid]:
    rows: Iterable[Any] = db.execute(
        select(
            Ranking.rank,
            Ranking.sequence,
            Ranking.price,
            Ranking.score,
            Ranking.response_time,
            Ranking.weight,
        ).where(Ranking.session_id == session.id, Ranking.rank == func.any(list(ranks)))
    )
    return {row.rank: RankedBid(*row[1:]) for row in rows}
