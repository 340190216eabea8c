"""Offers: the right to buy one item until a deadline, and who gets a place that comes free.

A session sells places, 1 to its inventory. The close offers each to one of the best ranks. An
offer is open until it is paid, declined, expired or withdrawn; none of these ever changes. A
place whose offer ends unpaid goes, in the same transaction, to the lowest rank never offered.

The rules of locking:

1. Whoever opens or ends offers holds the lock on the row of the session, so that for one
   session this happens in one order. Nothing else is locked before it, and no second session
   after it: offers, rankings and the rest are written only under it. Nobody can wait in a circle.
2. The clock is PostgreSQL's, read once, after the lock: a request may have waited for the lock
   past the deadline. In time means now < expires_at, for payments and for the sweep alike.
3. What was read before the lock is asked again under it.
4. Nothing is counted. The stock is held by the index `uq_offers_place_taken`: one open or paid
   offer a place. Triggers hold places to the inventory and ended offers to their state. All
   of this stands even if rule 1 is broken.
5. Members' rows are read without a lock: one who is disabled at that instant may still get an
   offer, as a moment before.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from psycopg2.errors import LockNotAvailable
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core import errors, outages
from core.orders.listing import OfferView, view_of
from core.orders.places import OfferState, end_offers, open_offers
from core.orders.prices import write_winners_prices
from core.postgres.database import Database
from core.postgres.models import BiddingSession, Offer
from core.sessions.sessions import locked

log = structlog.get_logger(__name__)

# One transaction's share of what has expired: about a quarter of a second.
BATCH_OFFERS = 500
_WAIT_BRIEFLY = text("SET LOCAL lock_timeout = '2s'")
# Notifies the members at these ranks of a session.
TellSuccessors = Callable[[Session, UUID, Sequence[int]], None]
# Notifies the members of those of these offers of a session that were not theirs to end.
TellEnded = Callable[[Session, UUID, Sequence[UUID]], None]


@dataclass(frozen=True, slots=True)
class Swept:
    """The offers that one call has ended. `unfinished`: its time ran out before the last one."""

    expired: int
    unfinished: bool


class _SessionLocked(Exception):
    """The session's row stays locked."""


class Offers:
    """Opens offers and ends them."""

    def __init__(
        self,
        database: Database,
        tell_successors: TellSuccessors,
        tell_ended: TellEnded,
        *,
        batch_offers: int = BATCH_OFFERS,
    ) -> None:
        self._database = database
        self._tell_successors = tell_successors
        self._tell_ended = tell_ended
        self._batch_offers = batch_offers

    def open_first(self, db: Session, session: BiddingSession) -> None:
        """Offer all places of a session in the transaction that writes its rankings."""
        write_winners_prices(db, session)
        self._open(db, session, range(1, session.inventory + 1), _now(db))

    def settle(
        self, session_id: UUID, offer_id: UUID, state: OfferState, *, hand_on: bool = True
    ) -> OfferView:
        """End an open offer. Safe to repeat: one that has this state already stays as it is.

        `hand_on`: whether its place goes on to the next rank; if not it leaves the sale.
        Raises OfferNotFound, OfferExpired after the deadline, OfferSettled in another state.
        """
        with self._database.begin() as db:
            session = locked(db, session_id)
            offer = db.get(Offer, offer_id)
            if offer is None or offer.session_id != session_id:
                raise errors.OfferNotFound
            self._settle(db, session, offer, state, hand_on=hand_on)
            view = view_of(db, offer_id)
        # Only now: that it has expired, and who is next, is committed.
        if view.state is OfferState.EXPIRED:
            raise errors.OfferExpired
        if view.state is not state:
            raise errors.OfferSettled(view.state.value)
        return view

    def decline(self, user_id: UUID, offer_id: UUID) -> OfferView:
        """Decline a member's own offer; raises like `settle`."""
        with self._database.begin() as db:
            session_id = db.scalar(
                select(Offer.session_id).where(Offer.id == offer_id, Offer.user_id == user_id)
            )
        if session_id is None:
            raise errors.OfferNotFound
        return self.settle(session_id, offer_id, OfferState.DECLINED)

    def sweep(self, *, seconds: float) -> Swept:
        """End the offers whose time is over and offer their places on, for at most `seconds`.

        Concurrent calls share the work. One that fails is logged and holds up no other.
        """
        give_up_at = time.monotonic() + seconds
        expired = 0
        for session_id, ids in self._overdue():
            for first in range(0, len(ids), self._batch_offers):
                try:
                    expired += self._expire(session_id, ids[first : first + self._batch_offers])
                except _SessionLocked:
                    log.warning("offers_not_expired_yet", session_id=str(session_id))
                    break
                if time.monotonic() > give_up_at:
                    return Swept(expired, unfinished=True)
        return Swept(expired, unfinished=False)

    def _overdue(self) -> Sequence[tuple[UUID, Sequence[UUID]]]:
        """Open offers whose time is over, by session; the longest overdue session first."""
        ids = func.array_agg(Offer.id.op("ORDER BY")(Offer.place))
        with self._database.begin() as db:
            rows = db.execute(
                select(Offer.session_id, ids)
                .where(
                    Offer.state == OfferState.OPEN.value,
                    Offer.expires_at <= func.clock_timestamp(),
                )
                .group_by(Offer.session_id)
                .order_by(func.min(Offer.expires_at))
            )
            return [(session_id, ids) for session_id, ids in rows]

    def _expire(self, session_id: UUID, ids: Sequence[UUID]) -> int:
        """How many of these have expired. If the batch fails, its halves are tried."""
        try:
            return self._expire_together(session_id, ids)
        except _SessionLocked:
            raise
        except outages.ALL:
            raise
        except Exception:
            if len(ids) == 1:
                log.exception("offer_not_expired", offer_id=str(ids[0]), session_id=str(session_id))
                return 0
        # Not while the error is handled: each half's own would be chained to it.
        middle = len(ids) // 2
        return sum(self._expire(session_id, half) for half in (ids[:middle], ids[middle:]))

    def _expire_together(self, session_id: UUID, ids: Sequence[UUID]) -> int:
        with self._database.begin() as db:
            session = _locked_soon(db, session_id)
            return self._end(db, session, ids, OfferState.EXPIRED, _now(db))

    def _settle(
        self,
        db: Session,
        session: BiddingSession,
        offer: Offer,
        state: OfferState,
        *,
        hand_on: bool,
    ) -> None:
        now = _now(db)
        if offer.state == OfferState.OPEN.value:
            if now >= offer.expires_at:
                state, hand_on = OfferState.EXPIRED, True
            self._end(db, session, [offer.id], state, now, hand_on=hand_on)

    def _end(
        self,
        db: Session,
        session: BiddingSession,
        ids: Sequence[UUID],
        state: OfferState,
        now: datetime,
        *,
        hand_on: bool = True,
    ) -> int:
        """End those that are open, and offer the places of the unpaid on; returns how many."""
        places = end_offers(db, session.id, ids, state, now=now)
        self._tell_ended(db, session.id, ids)
        is_over = session.offers_end is not None and now >= session.offers_end
        if state is not OfferState.PAID and hand_on and not is_over:
            self._open(db, session, places, now)
        return len(places)

    def _open(
        self, db: Session, session: BiddingSession, places: Sequence[int], now: datetime
    ) -> None:
        ranks = open_offers(db, session, places, now=now)
        # The winners hear of it with the results.
        self._tell_successors(db, session.id, [rank for rank in ranks if rank > session.inventory])


def _locked_soon(db: Session, session_id: UUID) -> BiddingSession:
    """The same for a sweep: a session that somebody keeps locked must not hold up the others."""
    db.execute(_WAIT_BRIEFLY)
    try:
        return locked(db, session_id)
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            raise _SessionLocked from None
        raise


def _now(db: Session) -> datetime:
    """The moment that judges deadlines. Read after the lock."""
    return db.scalar(select(func.clock_timestamp()))  # type: ignore[return-value]
