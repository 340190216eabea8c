"""Deliveries of one channel: found when due, claimed one by one, settled.

A delivery's row stays locked, in one transaction, from before it is sent until it is
settled. If the process dies the lock is released, and at most the delivery in progress is
sent twice. One process at a time delivers on a channel, so a slow channel cannot occupy
the workers of the others.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from core.postgres.database import Database, allow_silence
from core.postgres.models import MAX_ERROR_LENGTH, EmailDelivery, WebhookDelivery
from core.telemetry import metrics

log = structlog.get_logger(__name__)

_DUE_LIMIT = 100
# Longer than any delivery takes. A vanished host keeps its claim for this long.
_SEND_SECONDS = 120.0

D = TypeVar("D", EmailDelivery, WebhookDelivery)


class DeliveryStatus(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class DeliveryFailed(Exception):
    """A delivery failed. `reason` is stored and logged, so it must contain no address.

    `final`: a retry would fail the same way.
    """

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class Overtaken(Exception):
    """The delivery is not worth making any more. Its row is deleted."""


class ChannelDown(Exception):
    """The channel's server is unreachable; nothing was attempted. The message is logged."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The attempts of one call. `unfinished`: its time ran out with deliveries left."""

    attempts: int
    unfinished: bool


@dataclass(frozen=True, slots=True)
class DeliveryBacklog:
    """Counts of deliveries that wait for their next attempt, and that were given up."""

    waiting: int
    given_up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryProgress:
    """How far a delivery is, on any channel."""

    status: DeliveryStatus
    attempts: int
    last_error: str | None
    created_at: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None


class Outbox(Generic[D]):
    """The deliveries in one table."""

    def __init__(
        self,
        database: Database,
        table: type[D],
        *,
        retry_delays: Sequence[timedelta],
        turn_lock: int,
    ) -> None:
        self._database = database
        self._table: type[D] = table
        self._retry_delays = retry_delays
        self._turn_lock = turn_lock
        self._channel = table.__tablename__.removesuffix("_deliveries")
        for outcome in ("delivered", "failed", "given_up"):
            metrics.NOTIFICATIONS.labels(self._channel, outcome)

    def deliver(self, send: Callable[[Session, D], None], *, seconds: float) -> Delivered:
        """Attempt every delivery that is due, for at most `seconds`.

        `send` may raise DeliveryFailed, Overtaken, or ChannelDown, which ends the call. Returns at
        once while another process delivers on the channel.
        """
        deadline = time.monotonic() + seconds
        attempts = 0
        with self.turn(seconds) as is_ours:
            while is_ours and (due := self._due()):
                for delivery_id in due:
                    self._attempt(delivery_id, send)
                    attempts += 1
                    if time.monotonic() > deadline:
                        return Delivered(attempts, unfinished=True)
        return Delivered(attempts, unfinished=False)

    def backlog(self) -> DeliveryBacklog:
        """Counts of deliveries that are waiting and that were given up."""
        with self._database.begin() as db:
            return DeliveryBacklog(
                waiting=self.count(db, self.condition(DeliveryStatus.WAITING)),
                given_up=self.count(db, self.condition(DeliveryStatus.GIVEN_UP)),
            )

    def condition(self, status: DeliveryStatus) -> ColumnElement[bool]:
        """The SQL condition for a row of this status."""
        is_waiting = self._table.next_attempt_at.is_not(None)
        is_delivered = self._table.delivered_at.is_not(None)
        match status:
            case DeliveryStatus.WAITING:
                return is_waiting
            case DeliveryStatus.DELIVERED:
                return is_delivered
            case DeliveryStatus.GIVEN_UP:
                return ~is_waiting & ~is_delivered

    def count(self, db: Session, condition: ColumnElement[bool]) -> int:
        """The number of rows that meet the condition."""
        return db.scalar(select(func.count()).select_from(self._table).where(condition)) or 0

    @contextmanager
    def turn(self, seconds: float) -> Iterator[bool]:
        """Whether this process may deliver now. The transaction holds the lock.

        It stays idle for `seconds` and until the last send ends.
        """
        with self._database.begin() as db:
            allow_silence(db, seconds=seconds + _SEND_SECONDS)
            yield bool(db.scalar(select(func.pg_try_advisory_xact_lock(self._turn_lock))))

    def _due(self) -> Sequence[UUID]:
        """Deliveries that are due and that nobody else holds."""
        with self._database.begin() as db:
            return db.scalars(
                select(self._table.id)
                .where(self._table.next_attempt_at <= func.now())
                .order_by(self._table.next_attempt_at)
                .limit(_DUE_LIMIT)
                .with_for_update(skip_locked=True)
            ).all()

    def _attempt(self, delivery_id: UUID, send: Callable[[Session, D], None]) -> None:
        """Send one delivery. Any error is a failure of this one: the next ones still go out."""
        try:
            self._send(delivery_id, send)
        except ChannelDown:
            raise
        except DeliveryFailed as failure:
            self._postpone(delivery_id, failure)
        except Exception as error:
            log.exception("delivery_broken", delivery_id=str(delivery_id))
            self._postpone(delivery_id, DeliveryFailed(type(error).__name__))

    def _send(self, delivery_id: UUID, send: Callable[[Session, D], None]) -> None:
        with self._database.begin() as db:
            allow_silence(db, seconds=_SEND_SECONDS)
            delivery = self._claim(db, delivery_id)
            if delivery is None:
                return
            try:
                send(db, delivery)
            except Overtaken:
                db.delete(delivery)
                return
            _mark_delivered(delivery)
        metrics.NOTIFICATIONS.labels(self._channel, "delivered").inc()

    def settle(self, delivery_id: UUID, due_at: datetime, failure: DeliveryFailed | None) -> None:
        """Record the outcome of an attempt that was made outside a transaction.

        `due_at`: its `next_attempt_at` at the start. A replay has changed it: then the delivery
        is due again, whatever this attempt led to.
        """
        if failure is not None:
            self._postpone(delivery_id, failure, due_at)
            return
        with self._database.begin() as db:
            if delivery := self._claim(db, delivery_id, due_at):
                _mark_delivered(delivery)
        metrics.NOTIFICATIONS.labels(self._channel, "delivered").inc()

    def _claim(self, db: Session, delivery_id: UUID, due_at: datetime | None = None) -> D | None:
        """The delivery, locked; None if it is settled or locked by another process."""
        due = self._table.next_attempt_at
        return db.scalars(
            select(self._table)
            .where(
                self._table.id == delivery_id,
                due <= func.now() if due_at is None else due == due_at,
            )
            .with_for_update(skip_locked=True)
        ).one_or_none()

    def _postpone(
        self, delivery_id: UUID, failure: DeliveryFailed, due_at: datetime | None = None
    ) -> None:
        """Record the failure and schedule the next attempt, or give up after the last.

        In a transaction of its own: the error may have ended the one of the attempt.
        """
        with self._database.begin() as db:
            delivery = self._claim(db, delivery_id, due_at)
            if delivery is None:
                return
            given_up = failure.final or delivery.attempts >= len(self._retry_delays)
            delivery.next_attempt_at = (
                None if given_up else func.clock_timestamp() + self._retry_delays[delivery.attempts]
            )
            delivery.attempts += 1
            delivery.last_error = failure.reason[:MAX_ERROR_LENGTH]
        log.warning(
            "delivery_failed",
            table=self._table.__tablename__,
            delivery_id=str(delivery_id),
            reason=failure.reason[:MAX_ERROR_LENGTH],
            given_up=given_up,
        )
        metrics.NOTIFICATIONS.labels(self._channel, "given_up" if given_up else "failed").inc()


def _mark_delivered(delivery: EmailDelivery | WebhookDelivery) -> None:
    delivery.attempts += 1
    delivery.delivered_at = func.clock_timestamp()
    delivery.next_attempt_at = None
    delivery.last_error = None


def progress_of(delivery: EmailDelivery | WebhookDelivery) -> dict[str, Any]:
    """The fields of DeliveryProgress."""
    return {
        "status": _status_of(delivery),
        "attempts": delivery.attempts,
        "last_error": delivery.last_error,
        "created_at": delivery.created_at,
        "next_attempt_at": delivery.next_attempt_at,
        "delivered_at": delivery.delivered_at,
    }


def _status_of(delivery: EmailDelivery | WebhookDelivery) -> DeliveryStatus:
    if delivery.next_attempt_at is not None:
        return DeliveryStatus.WAITING
    return DeliveryStatus.GIVEN_UP if delivery.delivered_at is None else DeliveryStatus.DELIVERED
