"""Offers places to ranks, and ends offers: the statements, all set-wise.

The caller holds the session's lock and passes the moment (core.orders.offers has the rules).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ARRAY, Integer, Uuid, bindparam, func, select, text
from sqlalchemy.orm import Session

from core.orders.prices import write_prices
from core.postgres.models import DELETED_MEMBER, BiddingSession, Offer, PassedOver
from core.sessions.results import count_bidders

# The next ranks in order take the places in order, but for members whose account is gone.
_OPEN = text("""
    INSERT INTO offers (id, session_id, user_id, rank, place, opened_at, expires_at)
    SELECT gen_random_uuid(), :session_id, user_id, rank, place, :now, :expires_at
      FROM (SELECT user_id, rank, row_number() OVER (ORDER BY rank) AS turn
              FROM rankings JOIN users ON users.id = user_id
             WHERE session_id = :session_id AND rank > :after AND rank <= :through
               AND disabled_at IS NULL AND erased_at IS NULL) eligible
      JOIN unnest(:places) WITH ORDINALITY AS free (place, turn) USING (turn)
    RETURNING id, rank
""").bindparams(bindparam("places", type_=ARRAY(Integer)))
_PASS_OVER = text("""
    INSERT INTO offers_passed_over (session_id, user_id, rank, reason, passed_at)
    SELECT session_id, user_id, rank,
           CASE WHEN users.id IS NULL OR erased_at IS NOT NULL THEN 'erased' ELSE 'disabled' END,
           :now
      FROM rankings LEFT JOIN users ON users.id = user_id
     WHERE session_id = :session_id AND rank > :after AND rank <= :through
       AND (users.id IS NULL OR disabled_at IS NOT NULL OR erased_at IS NOT NULL)
""")
# Asks again for what the caller saw before it had the lock.
_END = text("""
    UPDATE offers SET state = :state, settled_at = :now, version = version + 1
     WHERE session_id = :session_id AND id = ANY(:ids) AND state = 'open'
       AND (expires_at <= :now) = (:state = 'expired')
    RETURNING id, place
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
_UTC = "to_jsonb({} AT TIME ZONE 'UTC') #>> '{{}}' || '+00:00'"
_RECORD = text(f"""
    INSERT INTO shop_events (event, session_id, subject_id, version, data)
    SELECT 'offer.' || CASE state WHEN 'open' THEN 'opened' ELSE state END,
           offers.session_id, offers.id, offers.version,
           jsonb_build_object(
               'offer_id', offers.id, 'session_id', offers.session_id,
               'product_id', products.id, 'product_name', products.name,
               'user_id', offers.user_id,
               'username', CASE WHEN is_known THEN username ELSE :deleted_member END,
               'email', CASE WHEN is_known THEN email END,
               'rank', offers.rank, 'place', place,
               'price_to_pay', price_to_pay::text, 'currency', currency,
               'state', state, 'version', offers.version,
               'opened_at', {_UTC.format("opened_at")},
               'expires_at', {_UTC.format("expires_at")},
               'settled_at', {_UTC.format("settled_at")})
      FROM offers
      JOIN rankings USING (session_id, user_id)
      JOIN sessions ON sessions.id = offers.session_id
      JOIN products ON products.id = product_id
      LEFT JOIN users ON users.id = offers.user_id
     CROSS JOIN LATERAL (SELECT users.id IS NOT NULL AND erased_at IS NULL AS is_known) account
     WHERE offers.session_id = :session_id AND offers.id = ANY(:ids)
     ORDER BY offers.rank
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))  # noqa: S608 - constants


class OfferState(StrEnum):
    """An offer's state. Only an open one changes."""

    OPEN = "open"
    PAID = "paid"
    DECLINED = "declined"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


def open_offers(
    db: Session,
    session: BiddingSession,
    places: Sequence[int],
    *,
    now: datetime,
) -> list[int]:
    """Offer these places to the lowest ranks never offered one; returns the ranks."""
    after, last = _last_rank_served(db, session.id), count_bidders(db, session.id)
    moment = {"now": now, "expires_at": now + timedelta(minutes=session.offer_minutes)}
    opened: dict[UUID, int] = {}
    places = places[: max(0, last - after)]
    while places and after < last:
        # No more ranks than places: members after the last one served are not passed over.
        through = after + len(places)
        ranks = {"session_id": session.id, "after": after, "through": through}
        fresh = db.execute(_OPEN, {"places": list(places), **ranks, **moment}).all()
        db.execute(_PASS_OVER, {"now": now, **ranks})
        opened |= {row.id: row.rank for row in fresh}
        places, after = places[len(fresh) :], through
    write_prices(db, session, sorted(opened.values()))
    record(db, session.id, list(opened))
    return sorted(opened.values())


def end_offers(
    db: Session,
    session_id: UUID,
    ids: Sequence[UUID],
    state: OfferState,
    *,
    now: datetime,
) -> list[int]:
    """End those of these offers that are open, and expired if that is the state; returns their
    places.
    """
    ended = db.execute(
        _END, {"session_id": session_id, "ids": list(ids), "state": state.value, "now": now}
    ).all()
    record(db, session_id, [row.id for row in ended])
    return sorted(row.place for row in ended)


def record(db: Session, session_id: UUID, ids: Sequence[UUID]) -> None:
    """Write what these offers are now for the shop's systems."""
    db.execute(
        _RECORD,
        {
            "session_id": session_id,
            "ids": list(ids),
            "deleted_member": DELETED_MEMBER,
        },
    )


def _last_rank_served(db: Session, session_id: UUID) -> int:
    """The last rank that was offered a place or passed over: both go in order."""
    last = select(func.max(Offer.rank)).where(Offer.session_id == session_id)
    passed = select(func.max(PassedOver.rank)).where(PassedOver.session_id == session_id)
    return db.scalar(select(func.greatest(last.scalar_subquery(), passed.scalar_subquery()))) or 0
