"""Events for the shop's systems: their messages, and who gets them.

An event is a row, written in the transaction that does what it tells of. The fan-out writes
one delivery for each endpoint that wants the event, and marks the event, in one statement:
killed anywhere, nothing is lost or doubled.
"""

import json
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.postgres.models import BiddingSession, ShopEvent, WebhookDelivery, WebhookEndpoint
from core.sessions.results import RankedEntry, count_bidders, entries
from core.sessions.sessions import SessionView, view_of

# Keeps the message small enough for receivers. The rest is at /api/results/{session_id}.
MAX_WINNERS = 1000
# The endpoint of WEBHOOK_URL. Its row has neither the address nor the secret.
SETTING_ENDPOINT = UUID(int=0)
# Sent to one endpoint because an admin wants it, whatever the endpoint's state.
TEST = "webhook.test"
_CHUNK_EVENTS = 1000
# How long events and the log of their deliveries are kept.
KEEP_DAYS = 30
_CHUNK_OLD = 100


class EventKind(StrEnum):
    """What an endpoint may be told of."""

    SESSION_CREATED = "session.created"
    SESSION_STARTED = "session.started"
    SESSION_ENDED = "session.ended"
    SESSION_CANCELLED = "session.cancelled"
    OFFER_OPENED = "offer.opened"
    OFFER_PAID = "offer.paid"
    OFFER_DECLINED = "offer.declined"
    OFFER_EXPIRED = "offer.expired"
    OFFER_WITHDRAWN = "offer.withdrawn"
    BIDS_LOST = "bids.lost"


_FAN_OUT = text(f"""
    WITH due AS (
        SELECT id, event, session_id FROM shop_events
         WHERE delivered_at IS NULL ORDER BY created_at LIMIT {_CHUNK_EVENTS}
           FOR UPDATE SKIP LOCKED),
    written AS (
        INSERT INTO webhook_deliveries (event_id, endpoint_id, session_id, event)
        SELECT due.id, endpoint.id, session_id, event
          FROM due JOIN webhook_endpoints endpoint ON event = ANY (events)
         WHERE state <> 'disabled' AND (url IS NOT NULL OR :by_setting)
        ON CONFLICT (event_id, endpoint_id) DO NOTHING)
    UPDATE shop_events SET delivered_at = clock_timestamp()
      FROM due WHERE shop_events.id = due.id
""")  # noqa: S608 - constants
_PURGE = text(f"""
    WITH old AS (
        SELECT id FROM shop_events
         WHERE created_at < now() - INTERVAL '{KEEP_DAYS} days' AND delivered_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM webhook_deliveries
                            WHERE event_id = shop_events.id AND next_attempt_at IS NOT NULL)
           AND NOT EXISTS (SELECT FROM sessions
                            WHERE sessions.id = session_id AND published_at IS NULL)
         LIMIT {_CHUNK_EVENTS} FOR UPDATE SKIP LOCKED),
    settled AS (DELETE FROM webhook_deliveries USING old WHERE event_id = old.id)
    DELETE FROM shop_events USING old WHERE shop_events.id = old.id
""")  # noqa: S608 - constants


def fan_out(db: Session, *, by_setting: bool) -> int:
    """Write the deliveries of the oldest new events; returns how many events there were.

    Safe to repeat and to run side by side. `by_setting`: WEBHOOK_URL is set.
    """
    if by_setting:
        keep_setting_endpoint(db)
    done: Any = db.execute(_FAN_OUT, {"by_setting": by_setting})
    return int(done.rowcount) + (_adopt(db) if by_setting else 0)


def purge(db: Session) -> int:
    """Delete old events with the log of their deliveries; returns how many.

    One stays while a delivery of it waits, or its session's results are not published: the
    session could have the same event again. Safe to repeat and to run side by side.
    """
    done: Any = db.execute(_PURGE)
    return int(done.rowcount)


def keep_setting_endpoint(db: Session) -> None:
    """The row of WEBHOOK_URL. At first it has the one event that there used to be."""
    db.execute(
        insert(WebhookEndpoint)
        .values(id=SETTING_ENDPOINT, events=[EventKind.SESSION_ENDED.value])
        .on_conflict_do_nothing()
    )


def _adopt(db: Session) -> int:
    """Freeze the messages of waiting deliveries that an earlier version wrote."""
    waiting = db.scalars(
        select(WebhookDelivery)
        .where(WebhookDelivery.event_id.is_(None), WebhookDelivery.next_attempt_at.is_not(None))
        .limit(_CHUNK_OLD)
        .with_for_update(skip_locked=True)
    ).all()
    for delivery in waiting:
        event = session_ended(db, delivery.session_id)  # type: ignore[arg-type]
        event.delivered_at = func.clock_timestamp()
        db.add(event)
        db.flush()
        delivery.event_id, delivery.endpoint_id = event.id, SETTING_ENDPOINT
    return len(waiting)


def message_of(event: ShopEvent) -> bytes:
    """The body: the same bytes at each attempt, whatever has changed since the event."""
    message = {
        "type": event.event,
        "timestamp": event.created_at.isoformat(),
        "data": {**event.data, "version": event.version},
    }
    return json.dumps(message, separators=(",", ":")).encode()


def session_ended(db: Session, session_id: UUID) -> ShopEvent:
    """The results of a closed session."""
    row = db.get_one(BiddingSession, session_id)
    session = view_of(row, row.end_time)
    bidders = count_bidders(db, session_id)
    winners = min(bidders, session.inventory)
    return ShopEvent(
        event=EventKind.SESSION_ENDED.value,
        session_id=session_id,
        subject_id=session_id,
        version=row.version,
        created_at=session.closed_at,
        data={
            **_session(session),
            "total_bidders": bidders,
            "total_winners": winners,
            "winners": [
                _winner(entry)
                for entry in entries(db, session, first=1, last=min(winners, MAX_WINNERS))
            ],
        },
    )


def _session(session: SessionView) -> dict[str, Any]:
    return {
        "session_id": str(session.session_id),
        "product_id": str(session.product_id),
        "product_name": session.name,
        "inventory": session.inventory,
        "currency": session.currency,
        "final_price": _number(session.final_price),
    }


def _winner(entry: RankedEntry) -> dict[str, Any]:
    return {
        "rank": entry.rank,
        "user_id": str(entry.user_id),
        "username": entry.username,
        "price": float(entry.price),
        "price_to_pay": _number(entry.price_to_pay),
    }


def _number(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
