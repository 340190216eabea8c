"""Delivers results to members by e-mail.

A batch uses one connection. Only a crash between the server's acceptance of a message and
the commit that records it sends that message twice.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import select, true
from sqlalchemy.orm import Session

from core.config.channels import MailSettings
from core.notifications.email_message import InvalidAddress, compose
from core.notifications.inbox import Notice, notices
from core.notifications.mail_server import MailServer
from core.notifications.outbox import (
    ChannelDown,
    Delivered,
    DeliveryBacklog,
    DeliveryFailed,
    DeliveryProgress,
    DeliveryStatus,
    Outbox,
    Overtaken,
    progress_of,
)
from core.postgres.database import Database
from core.postgres.models import EmailDelivery, Notification, User
from core.runtime import EventLoop
from core.telemetry import metrics

log = structlog.get_logger(__name__)

# After a temporary refusal of one message. While the server is unreachable no attempt is
# counted.
RETRY_DELAYS = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=12),
)
# For connecting, and again for each message.
DEADLINE_SECONDS = 30.0
_TURN_LOCK = 4_275_005


@dataclass(frozen=True, slots=True)
class EmailView(DeliveryProgress):
    """One line of the log of e-mails. The id is the notification's."""

    delivery_id: UUID
    session_id: UUID
    user_id: UUID


class Mailer:
    """Delivers e-mails."""

    def __init__(
        self,
        database: Database,
        loop: EventLoop,
        settings: MailSettings | None,
        *,
        public_url: str = "",
        retry_delays: Sequence[timedelta] = RETRY_DELAYS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._database = database
        self._loop = loop
        self._settings = settings
        self._public_url = public_url
        self._deadline_seconds = deadline_seconds
        self._outbox = Outbox(
            database, EmailDelivery, retry_delays=retry_delays, turn_lock=_TURN_LOCK
        )
        # Starts at 0, so that Prometheus sees the first increase.
        self._unreachable = metrics.NOTIFICATIONS.labels("email", "unreachable")

    @property
    def is_on(self) -> bool:
        """Whether a mail server is configured."""
        return self._settings is not None

    def deliver_due(self, *, seconds: float) -> Delivered:
        """Send every e-mail that is due, for at most `seconds`."""
        if self._settings is None:
            return Delivered(attempts=0, unfinished=False)
        server = MailServer(self._settings, self._loop, deadline_seconds=self._deadline_seconds)
        with closing(server):
            try:
                send = partial(_send, server, self._settings, self._public_url)
                return self._outbox.deliver(send, seconds=seconds)
            except ChannelDown as down:
                log.warning("mail_server_unreachable", reason=str(down))
                self._unreachable.inc()
                return Delivered(attempts=0, unfinished=False)

    def backlog(self) -> DeliveryBacklog:
        """Counts of e-mails that are waiting and that were given up."""
        return self._outbox.backlog()

    def list(
        self, status: DeliveryStatus | None, *, page: int, page_size: int
    ) -> tuple[Sequence[EmailView], int]:
        """One page of e-mails, newest first, and the total count."""
        wanted = self._outbox.condition(status) if status else true()
        newest = (
            select(EmailDelivery, Notification.session_id, Notification.user_id)
            .join(Notification, Notification.id == EmailDelivery.id)
            .where(wanted)
            .order_by(EmailDelivery.created_at.desc(), EmailDelivery.id)
        )
        with self._database.begin() as db:
            total = self._outbox.count(db, wanted)
            rows = db.execute(newest.offset((page - 1) * page_size).limit(page_size))
            return [
                EmailView(
                    delivery_id=row.id,
                    session_id=session_id,  # type: ignore[arg-type] # each e-mail is about one
                    user_id=user_id,
                    **progress_of(row),
                )
                for row, session_id, user_id in rows
            ], total


def _send(
    server: MailServer,
    settings: MailSettings,
    public_url: str,
    db: Session,
    delivery: EmailDelivery,
) -> None:
    row = db.execute(
        notices()
        .add_columns(User.username, User.email)
        .join(User, User.id == Notification.user_id)
        .where(Notification.id == delivery.id, User.erased_at.is_(None))
    ).mappings()
    found = row.one_or_none()
    if found is None:
        raise DeliveryFailed("the account is gone", final=True)
    columns = dict(found)
    username, address = columns.pop("username"), columns.pop("email")
    notice, now = Notice(**columns), datetime.now(UTC)
    if notice.is_overtaken(now):
        raise Overtaken
    try:
        message = compose(
            notice,
            username=username,
            address=address,
            sender=settings.sender,
            sent_at=now,
            public_url=public_url,
        )
    except InvalidAddress:
        raise DeliveryFailed("no usable address", final=True) from None
    server.send(message, message["To"].addresses[0].addr_spec)
