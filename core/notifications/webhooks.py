"""Delivers results to the shop's system, following Standard Webhooks.

A message is `session.ended` with the results. All attempts and replays have the same
`webhook-id`, so that the receiver can detect duplicates.
"""

import json
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from hmac import digest
from http import HTTPStatus
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, true, update
from sqlalchemy.orm import Session

from core import errors
from core.config.channels import WebhookSettings
from core.notifications.http_post import NoResponse, post
from core.notifications.outbox import (
    Delivered,
    DeliveryBacklog,
    DeliveryFailed,
    DeliveryProgress,
    DeliveryStatus,
    Outbox,
    progress_of,
)
from core.postgres.database import Database, page_of
from core.postgres.models import BiddingSession, WebhookDelivery
from core.runtime import EventLoop
from core.sessions.results import RankedEntry, count_bidders, entries
from core.sessions.sessions import SessionView, view_of

# Eight attempts over 27 hours: enough for a shop that is down overnight.
RETRY_DELAYS = (
    timedelta(seconds=10),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
# Keeps the message small enough for receivers. The rest is at /api/results/{session_id}.
MAX_WINNERS = 1000
# For the whole of an attempt, from the name lookup to the status.
DEADLINE_SECONDS = 15.0
_TURN_LOCK = 4_275_004
_USER_AGENT = "Flashbid-Webhooks/1.0"


@dataclass(frozen=True, slots=True)
class DeliveryView(DeliveryProgress):
    """One line of the delivery log."""

    delivery_id: UUID
    session_id: UUID
    event: str


class Webhooks:
    """Delivers to the shop's system and keeps the delivery log."""

    def __init__(
        self,
        database: Database,
        loop: EventLoop,
        settings: WebhookSettings | None,
        *,
        retry_delays: Sequence[timedelta] = RETRY_DELAYS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._database = database
        self._loop = loop
        self._settings = settings
        self._deadline_seconds = deadline_seconds
        self._outbox = Outbox(
            database, WebhookDelivery, retry_delays=retry_delays, turn_lock=_TURN_LOCK
        )

    @property
    def is_on(self) -> bool:
        """Whether a webhook is configured."""
        return self._settings is not None

    def deliver_due(self, *, seconds: float) -> Delivered:
        """Send every message that is due, for at most `seconds`."""
        if self._settings is None:
            return Delivered(attempts=0, unfinished=False)
        return self._outbox.deliver(self._send, seconds=seconds)

    def backlog(self) -> DeliveryBacklog:
        """Counts of messages that are waiting and that were given up."""
        return self._outbox.backlog()

    def list(
        self, status: DeliveryStatus | None, *, page: int, page_size: int
    ) -> tuple[Sequence[DeliveryView], int]:
        """One page of deliveries, newest first, and the total count."""
        wanted = self._outbox.condition(status) if status else true()
        newest = (
            select(WebhookDelivery)
            .where(wanted)
            .order_by(WebhookDelivery.created_at.desc(), WebhookDelivery.id)
        )
        with self._database.begin() as db:
            rows, total = page_of(db, newest, page=page, page_size=page_size)
            return [_view(row) for row in rows], total

    def replay(self, delivery_id: UUID) -> None:
        """Enqueue a message again, whatever its status, under its old `webhook-id`."""
        with self._database.begin() as db:
            found = db.scalar(
                update(WebhookDelivery)
                .where(WebhookDelivery.id == delivery_id)
                .values(attempts=0, next_attempt_at=func.now(), delivered_at=None, last_error=None)
                .returning(WebhookDelivery.id)
            )
        if found is None:
            raise errors.DeliveryNotFound

    def _send(self, db: Session, delivery: WebhookDelivery) -> None:
        assert self._settings is not None  # noqa: S101 - deliver_due checks it
        body = json.dumps(_message(db, delivery), separators=(",", ":")).encode()
        headers = signed_headers(self._settings.key, str(delivery.id), int(time.time()), body)
        status = self._post(self._settings.url, body, headers)
        if status // 100 != 2:  # noqa: PLR2004 - the class of 2xx
            # 410 Gone: the receiver wants no further messages.
            raise DeliveryFailed(f"answered {status}", final=status == HTTPStatus.GONE)

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        try:
            return self._loop.run(post(url, body, headers, seconds=self._deadline_seconds))
        except NoResponse as reason:
            raise DeliveryFailed(str(reason)) from None


def signed_headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks. `timestamp`: of this attempt, seconds since 1970."""
    signature = digest(key, f"{message_id}.{timestamp}.".encode() + body, sha256)
    return {
        "content-type": "application/json",
        "user-agent": _USER_AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{b64encode(signature).decode()}",
    }


def _view(row: WebhookDelivery) -> DeliveryView:
    return DeliveryView(
        delivery_id=row.id, session_id=row.session_id, event=row.event, **progress_of(row)
    )


def _message(db: Session, delivery: WebhookDelivery) -> dict[str, Any]:
    session = view_of(db.get_one(BiddingSession, delivery.session_id), datetime.now(UTC))
    bidders = count_bidders(db, session.session_id)
    winners = min(bidders, session.inventory)
    return {
        "type": delivery.event,
        "timestamp": session.closed_at.isoformat() if session.closed_at else None,
        "data": {
            **_session(session),
            "total_bidders": bidders,
            "total_winners": winners,
            "winners": [
                _winner(entry)
                for entry in entries(db, session, first=1, last=min(winners, MAX_WINNERS))
            ],
        },
    }


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
