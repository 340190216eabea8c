"""The shop's systems that are told of events: added, changed and paused by admins, disabled
when they fail for days.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from secrets import token_bytes
from uuid import UUID

import structlog
from sqlalchemy import func, insert, literal, select, true, update
from sqlalchemy.orm import Session

from core import errors
from core.config.channels import WEBHOOK_SECRET_PREFIX, WebhookSettings, is_webhook_url
from core.members.idempotency import store_response
from core.notifications.inbox import NotificationKind
from core.notifications.shop_events import SETTING_ENDPOINT, TEST, keep_setting_endpoint
from core.postgres.database import Database, page_of
from core.postgres.models import Notification, ShopEvent, User, WebhookDelivery, WebhookEndpoint
from core.rules.destinations import Destinations

log = structlog.get_logger(__name__)

# How long a secret still signs after it was replaced.
ROTATION = timedelta(hours=24)
FAILURES_ALLOWED = timedelta(days=5)
_KEY_BYTES = 32


class EndpointState(StrEnum):
    """Paused, its deliveries wait. Disabled, it gets no new ones either."""

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class EndpointView:
    """An endpoint as admins see it. Without a URL it is that of WEBHOOK_URL."""

    endpoint_id: UUID
    url: str | None
    events: Sequence[str]
    state: EndpointState
    state_reason: str | None
    state_since: datetime
    failing_since: datetime | None
    previous_secret_until: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EndpointWithSecret:
    """Shown once, to the admin who made the secret."""

    endpoint: EndpointView
    secret: str = field(repr=False)


class Endpoints:
    """The endpoints in the database, and the one of the settings."""

    def __init__(
        self, database: Database, setting: WebhookSettings | None, destinations: Destinations
    ) -> None:
        self._database = database
        self._setting = setting
        self._destinations = destinations

    def list(self, *, page: int, page_size: int) -> tuple[Sequence[EndpointView], int]:
        """One page, oldest first, and the total count."""
        with self._database.begin() as db:
            if self._setting:
                keep_setting_endpoint(db)
            oldest = (
                select(WebhookEndpoint)
                .where(true() if self._setting else WebhookEndpoint.url.is_not(None))
                .order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)
            )
            rows, total = page_of(db, oldest, page=page, page_size=page_size)
            return [_view(row) for row in rows], total

    def add(self, url: str, events: Sequence[str]) -> EndpointWithSecret:
        """A new endpoint with a new secret. Raises InvalidWebhookUrl."""
        self._require_valid(url)
        row = WebhookEndpoint(url=url, events=list(events), secret=_new_secret())
        with self._database.begin() as db:
            db.add(row)
            db.flush()
            made = EndpointWithSecret(_view(row), str(row.secret))
            store_response(db, made)
            return made

    def change(
        self,
        endpoint_id: UUID,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        paused: bool | None = None,
    ) -> EndpointView:
        """Change what is not None. Not paused means enabled, also if it was disabled."""
        with self._database.begin() as db:
            row = self._locked(db, endpoint_id)
            if url is not None:
                _require_own(row)
                self._require_valid(url)
                row.url = url
            if events is not None:
                row.events = list(events)
            if paused is not None:
                _set_state(row, EndpointState.PAUSED if paused else EndpointState.ENABLED)
            db.flush()
            return _view(row)

    def delete(self, endpoint_id: UUID) -> None:
        """Delete an endpoint with its deliveries."""
        with self._database.begin() as db:
            row = self._locked(db, endpoint_id)
            _require_own(row)
            db.delete(row)

    def rotate_secret(self, endpoint_id: UUID) -> EndpointWithSecret:
        """A new secret. The one before signs as well for a day."""
        with self._database.begin() as db:
            row = self._locked(db, endpoint_id)
            _require_own(row)
            row.previous_secret, row.secret = row.secret, _new_secret()
            row.previous_secret_until = func.now() + ROTATION
            db.flush()
            return EndpointWithSecret(_view(row), row.secret)

    def test(self, endpoint_id: UUID) -> UUID:
        """Enqueue a message to this endpoint alone, whatever its state; the delivery's id."""
        with self._database.begin() as db:
            self._locked(db, endpoint_id)
            event = ShopEvent(
                event=TEST,
                subject_id=endpoint_id,
                data={"endpoint_id": str(endpoint_id)},
                delivered_at=func.clock_timestamp(),
            )
            db.add(event)
            db.flush()
            delivery = WebhookDelivery(event=TEST, event_id=event.id, endpoint_id=endpoint_id)
            db.add(delivery)
            db.flush()
            return delivery.id

    def _locked(self, db: Session, endpoint_id: UUID) -> WebhookEndpoint:
        row = db.get(WebhookEndpoint, endpoint_id, with_for_update=True)
        if row is None or (row.url is None and not self._setting):
            raise errors.EndpointNotFound
        return row

    def _require_valid(self, url: str) -> None:
        if not is_webhook_url(url, plain_allowed=bool(self._destinations.networks)):
            raise errors.InvalidWebhookUrl


def count_disabled(db: Session) -> int:
    """How many endpoints are disabled."""
    disabled = WebhookEndpoint.state == EndpointState.DISABLED.value
    return db.scalar(select(func.count()).select_from(WebhookEndpoint).where(disabled)) or 0


def record_success(database: Database, endpoint_id: UUID) -> None:
    """The endpoint has accepted a message."""
    with database.begin() as db:
        db.execute(
            update(WebhookEndpoint)
            .where(WebhookEndpoint.id == endpoint_id)
            .values(failing_since=None)
        )


def record_failure(database: Database, endpoint_id: UUID, *, is_gone: bool) -> None:
    """Disable the endpoint if it has failed for days, or at once if it wants no more."""
    since, now = WebhookEndpoint.failing_since, func.clock_timestamp()
    reason = "answered 410" if is_gone else f"only failures for {FAILURES_ALLOWED.days} days"
    with database.begin() as db:
        chosen = update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id)
        db.execute(chosen.values(failing_since=func.coalesce(since, now)))
        is_disabled = db.scalar(
            chosen.where(
                WebhookEndpoint.state == EndpointState.ENABLED.value,
                true() if is_gone else since < now - FAILURES_ALLOWED,
            )
            .values(state=EndpointState.DISABLED.value, state_reason=reason, state_since=now)
            .returning(WebhookEndpoint.id)
        )
        if is_disabled:
            _tell_admins(db)
    if is_disabled:
        log.error("webhook_endpoint_disabled", endpoint_id=str(endpoint_id), reason=reason)


def _tell_admins(db: Session) -> None:
    admins = select(User.id, literal(NotificationKind.WEBHOOK_DISABLED.value)).where(
        User.is_admin, User.disabled_at.is_(None), User.erased_at.is_(None)
    )
    db.execute(insert(Notification).from_select(["user_id", "kind"], admins))


def _set_state(row: WebhookEndpoint, state: EndpointState) -> None:
    if row.state == state.value:
        return
    row.state, row.state_reason, row.state_since = state.value, None, func.now()
    row.failing_since = None


def _require_own(row: WebhookEndpoint) -> None:
    """The settings alone say where the endpoint of the settings is, and its secret."""
    if row.id == SETTING_ENDPOINT:
        raise errors.EndpointBySetting


def _new_secret() -> str:
    return WEBHOOK_SECRET_PREFIX + b64encode(token_bytes(_KEY_BYTES)).decode()


def _view(row: WebhookEndpoint) -> EndpointView:
    return EndpointView(
        endpoint_id=row.id,
        url=row.url,
        events=row.events,
        state=EndpointState(row.state),
        state_reason=row.state_reason,
        state_since=row.state_since,
        failing_since=row.failing_since,
        previous_secret_until=row.previous_secret_until,
        created_at=row.created_at,
    )
