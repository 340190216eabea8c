"""Simulates sales, of invented crowds or of the bids of a past session."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from core import errors
from core.postgres.database import Database
from core.postgres.models import Bid, Ranking
from core.rules.scoring import SaleTerms, terms_of
from core.rules.simulation import (
    MAX_BIDS,
    USUAL_TERMS,
    Crowd,
    SimulatedBid,
    Simulation,
    crowd_runs,
    simulate,
)
from core.sessions.results import Results
from core.sessions.sessions import Sessions, require_telling_cents


class Simulations:
    """Simulates sales. Writes nothing."""

    def __init__(self, database: Database, sessions: Sessions, results: Results) -> None:
        self._database = database
        self._sessions = sessions
        self._results = results

    def of_crowd(self, changes: Mapping[str, Any], crowd: Crowd) -> Simulation:
        """A sale under USUAL_TERMS but for these changes. Raises InvalidTerms."""
        terms = _changed(USUAL_TERMS, changes)
        if crowd.bidders * crowd.runs > MAX_BIDS:
            raise errors.InvalidTerms("runs", f"At most {MAX_BIDS:,} bids: bidders times runs.")
        if crowd.lowest_price > crowd.highest_price:
            raise errors.InvalidTerms("highest_price", "Must not be below lowest_price.")
        return simulate(terms, crowd_runs(crowd), crowd.duration_seconds)

    def of_session(self, session_id: UUID, changes: Mapping[str, Any]) -> Simulation:
        """A past sale under its own terms but for these changes, with its standing bids.

        Raises SessionNotFound, InvalidTerms, or, like Results.get, without final results.
        """
        past = self._results.get(session_id, page=1, page_size=1)
        terms = _changed(self._sessions.get(session_id), changes)
        if past.total_bidders > MAX_BIDS:
            raise errors.InvalidTerms("session_id", f"It has more than {MAX_BIDS:,} bidders.")
        lasted = (past.end_time - past.start_time).total_seconds()
        return simulate(terms, [self._standing_bids(session_id)], lasted)

    def _standing_bids(self, session_id: UUID) -> list[SimulatedBid]:
        """By sequence. Older versions kept time and weight in `bids` alone."""
        rows = (
            select(
                Ranking.sequence,
                Ranking.price,
                func.coalesce(Ranking.response_time, Bid.response_time),
                func.coalesce(Ranking.weight, Bid.weight),
            )
            .outerjoin(
                Bid, (Bid.session_id == Ranking.session_id) & (Bid.sequence == Ranking.sequence)
            )
            .where(Ranking.session_id == session_id)
            .order_by(Ranking.sequence)
        )
        with self._database.begin() as db:
            return [SimulatedBid(*row) for row in db.execute(rows)]


def _changed(base: object, changes: Mapping[str, Any]) -> SaleTerms:
    terms = SaleTerms(**{**terms_of(base), **changes})
    require_telling_cents(terms)
    return terms
