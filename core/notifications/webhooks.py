"""Delivers events to the shop's systems, following Standard Webhooks.

Endpoints are served side by side from the process's event loop, each with a few requests at a
time, so that one that hangs delays no other. All attempts and replays of a message have the
same `webhook-id` and the same body, so that the receiver can detect duplicates.
"""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session
from standardwebhooks.webhooks import Webhook

from core import errors
from core.config.channels import WebhookSettings, webhook_key
from core.notifications.endpoints import (
    EndpointState,
    count_disabled,
    record_failure,
    record_success,
)
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
from core.notifications.shop_events import TEST, fan_out, message_of, purge
from core.postgres.database import Database, page_of
from core.postgres.models import ShopEvent, WebhookDelivery, WebhookEndpoint
from core.rules.destinations import Destinations
from core.runtime import EventLoop
from core.telemetry.logs import hide

log = structlog.get_logger(__name__)

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
# For the whole of an attempt, from the name lookup to the status.
DEADLINE_SECONDS = 15.0
# Requests to one endpoint at a time; to one that fails, one.
PER_ENDPOINT = 4
# How soon a message for one endpoint is seen while another hangs.
_POLL_SECONDS = 0.5
_TURN_LOCK = 4_275_004
_USER_AGENT = "Flashbid-Webhooks/1.0"
_DUE = text(f"""
    SELECT due.id, due.next_attempt_at, due.event_id, endpoint.id AS endpoint_id, endpoint.url,
           endpoint.failing_since IS NOT NULL AS is_failing,
           array_remove(ARRAY[endpoint.secret, CASE WHEN endpoint.previous_secret_until > now()
                                                    THEN endpoint.previous_secret END],
                        NULL) AS secrets
      FROM webhook_endpoints endpoint
     CROSS JOIN LATERAL (
           SELECT id, next_attempt_at, event_id FROM webhook_deliveries
            WHERE endpoint_id = endpoint.id AND next_attempt_at <= now()
              AND NOT (id = ANY (CAST(:sending AS uuid[])))
              AND (endpoint.state = '{EndpointState.ENABLED.value}' OR event = '{TEST}')
            ORDER BY next_attempt_at LIMIT {PER_ENDPOINT}) due
     WHERE endpoint.url IS NOT NULL OR :by_setting
     ORDER BY due.next_attempt_at
""")  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class DeliveryView(DeliveryProgress):
    """One line of the delivery log."""

    delivery_id: UUID
    endpoint_id: UUID | None
    session_id: UUID | None
    event: str


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A message on its way. `is_late`: begun after the time of the call was up."""

    delivery_id: UUID
    due_at: datetime
    endpoint_id: UUID
    is_failing: bool
    is_late: bool
    event: ShopEvent = field(repr=False)
    # None: the endpoint of the settings.
    url: str | None = field(repr=False)
    secrets: Sequence[str] = field(repr=False)


Sending = dict["Future[None]", _Attempt]


class Webhooks:
    """Writes the deliveries of events, makes them, and keeps their log."""

    def __init__(
        self,
        database: Database,
        loop: EventLoop,
        settings: WebhookSettings | None,
        destinations: Destinations | None = None,
        *,
        retry_delays: Sequence[timedelta] = RETRY_DELAYS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._database = database
        self._loop = loop
        self._settings = settings
        self._destinations = destinations or Destinations()
        self._deadline_seconds = deadline_seconds
        self._outbox = Outbox(
            database, WebhookDelivery, retry_delays=retry_delays, turn_lock=_TURN_LOCK
        )

    @property
    def is_on(self) -> bool:
        """Whether there is an endpoint."""
        if self._settings is not None:
            return True
        with self._database.begin() as db:
            return bool(db.scalar(select(func.count()).select_from(WebhookEndpoint)))

    def fan_out(self, *, seconds: float) -> int:
        """Write the deliveries of new events, for at most `seconds`; how many events."""
        deadline = time.monotonic() + seconds
        events = 0
        while time.monotonic() < deadline:
            with self._database.begin() as db:
                done = fan_out(db, by_setting=self._settings is not None)
            events += done
            if not done:
                break
        return events

    def purge_events(self, *, seconds: float) -> int:
        """Delete events that are old and done with, for at most `seconds`; how many."""
        deadline = time.monotonic() + seconds
        events = 0
        while time.monotonic() < deadline:
            with self._database.begin() as db:
                done = purge(db)
            events += done
            if not done:
                break
        return events

    def deliver_due(self, *, seconds: float) -> Delivered:
        """Send every message that is due, for at most `seconds`, and end what has begun.

        Returns at once while another process delivers.
        """
        deadline = time.monotonic() + seconds
        attempts = 0
        sending: Sending = {}
        with self._outbox.turn(seconds) as is_ours:
            try:
                while is_ours and self._start(sending, is_late=time.monotonic() > deadline):
                    attempts += self._settle_done(sending)
            finally:
                for request in sending:
                    request.cancel()
        return Delivered(attempts, unfinished=time.monotonic() > deadline)

    def backlog(self) -> DeliveryBacklog:
        """Counts of messages that are waiting and that were given up."""
        return self._outbox.backlog()

    def disabled_endpoints(self) -> int:
        """How many endpoints get nothing because they failed."""
        with self._database.begin() as db:
            return count_disabled(db)

    def list(
        self,
        status: DeliveryStatus | None = None,
        *,
        endpoint_id: UUID | None = None,
        event: str | None = None,
        page: int,
        page_size: int,
    ) -> tuple[Sequence[DeliveryView], int]:
        """One page of deliveries, newest first, and the total count."""
        newest = select(WebhookDelivery).order_by(
            WebhookDelivery.created_at.desc(), WebhookDelivery.id
        )
        if status:
            newest = newest.where(self._outbox.condition(status))
        if endpoint_id:
            newest = newest.where(WebhookDelivery.endpoint_id == endpoint_id)
        if event:
            newest = newest.where(WebhookDelivery.event == event)
        with self._database.begin() as db:
            rows, total = page_of(db, newest, page=page, page_size=page_size)
            return [_view(row) for row in rows], total

    def get(self, delivery_id: UUID) -> DeliveryView:
        """One delivery. Raises DeliveryNotFound."""
        with self._database.begin() as db:
            row = db.get(WebhookDelivery, delivery_id)
        if row is None:
            raise errors.DeliveryNotFound
        return _view(row)

    def replay(self, delivery_id: UUID) -> None:
        """Enqueue a message again, whatever its status, under its old `webhook-id`."""
        with self._database.begin() as db:
            found = db.scalar(
                update(WebhookDelivery)
                .where(WebhookDelivery.id == delivery_id)
                .values(
                    attempts=0,
                    next_attempt_at=func.clock_timestamp(),
                    delivered_at=None,
                    last_error=None,
                )
                .returning(WebhookDelivery.id)
            )
        if found is None:
            raise errors.DeliveryNotFound

    def _start(self, sending: Sending, *, is_late: bool) -> bool:
        """Begin what is due; False once nothing is on its way.

        When the time is up, endpoints in good health are served on for as long as a request
        begun before is on its way: one that hangs would delay them otherwise.
        """
        if not is_late or any(not attempt.is_late for attempt in sending.values()):
            for attempt in self._due(sending, is_late=is_late):
                sending[self._loop.start(self._send(attempt))] = attempt
        return bool(sending)

    def _due(self, sending: Sending, *, is_late: bool) -> Sequence[_Attempt]:
        """What may begin now."""
        begun = [attempt.endpoint_id for attempt in sending.values()]
        chosen = []
        with self._database.begin() as db:
            for row in db.execute(
                _DUE,
                {
                    "sending": [attempt.delivery_id for attempt in sending.values()],
                    "by_setting": self._settings is not None,
                },
            ).all():
                limit = PER_ENDPOINT if not row.is_failing else int(not is_late)
                if begun.count(row.endpoint_id) < limit:
                    begun.append(row.endpoint_id)
                    chosen.append(_attempt(db, row, is_late=is_late))
        return chosen

    async def _send(self, attempt: _Attempt) -> None:
        url, keys, destinations = self._target(attempt)
        body = message_of(attempt.event)
        headers = signed_headers(keys, str(attempt.delivery_id), datetime.now(UTC), body)
        seconds = self._deadline_seconds
        try:
            status = await post(url, body, headers, seconds=seconds, destinations=destinations)
        except NoResponse as reason:
            raise DeliveryFailed(str(reason)) from None
        if status // 100 != 2:  # noqa: PLR2004 - the class of 2xx
            # 410 Gone: the receiver wants no further messages.
            raise DeliveryFailed(f"answered {status}", final=status == HTTPStatus.GONE)

    def _target(self, attempt: _Attempt) -> tuple[str, Sequence[bytes], Destinations | None]:
        """The URL, the keys that sign, and where it may lead: that of the settings anywhere."""
        if attempt.url is not None:
            keys = [webhook_key(secret) for secret in attempt.secrets]
            return attempt.url, keys, self._destinations
        assert self._settings is not None  # noqa: S101 - else the endpoint is not due
        return self._settings.url, [self._settings.key], None

    def _settle_done(self, sending: Sending) -> int:
        """Wait a little, and record the outcomes that are known."""
        done, _ = wait(sending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        for request in done:
            self._settle(sending.pop(request), request.exception())
        return len(done)

    def _settle(self, attempt: _Attempt, error: BaseException | None) -> None:
        failure = error if isinstance(error, DeliveryFailed) else None
        if error is not None and failure is None:
            log.error("delivery_broken", delivery_id=str(attempt.delivery_id), exc_info=error)
            failure = DeliveryFailed(type(error).__name__)
        self._outbox.settle(attempt.delivery_id, attempt.due_at, failure)
        if failure is not None:
            record_failure(self._database, attempt.endpoint_id, is_gone=failure.final)
        elif attempt.is_failing:
            record_success(self._database, attempt.endpoint_id)


def _attempt(db: Session, row: Any, *, is_late: bool) -> _Attempt:
    hide(row.secrets)
    return _Attempt(
        delivery_id=row.id,
        due_at=row.next_attempt_at,
        endpoint_id=row.endpoint_id,
        is_failing=row.is_failing,
        is_late=is_late,
        event=db.get_one(ShopEvent, row.event_id),
        url=row.url,
        secrets=row.secrets,
    )


def signed_headers(
    keys: Sequence[bytes], message_id: str, moment: datetime, body: bytes
) -> dict[str, str]:
    """The headers of Standard Webhooks, with a signature by each key. `moment`: in UTC."""
    signatures = [Webhook(key).sign(message_id, moment, body.decode()) for key in keys]
    return {
        "content-type": "application/json",
        "user-agent": _USER_AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _view(row: WebhookDelivery) -> DeliveryView:
    return DeliveryView(
        delivery_id=row.id,
        endpoint_id=row.endpoint_id,
        session_id=row.session_id,
        event=row.event,
        **progress_of(row),
    )
