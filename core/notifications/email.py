"""Delivers results to members by e-mail.

A batch uses one connection. Only a crash between the server's acceptance of a message and
the commit that records it sends that message twice.
"""

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from functools import partial

import structlog
from sqlalchemy.orm import Session

from core.config.channels import MailSettings, Tls
from core.notifications.email_message import InvalidAddress, compose
from core.notifications.inbox import Notice, notices
from core.notifications.outbox import (
    ChannelDown,
    Delivered,
    DeliveryBacklog,
    DeliveryFailed,
    Outbox,
)
from core.postgres.database import Database
from core.postgres.models import EmailDelivery, Notification, User
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
TIMEOUT_SECONDS = 10.0
_TURN_LOCK = 4_275_005


class Mailer:
    """Delivers e-mails."""

    def __init__(
        self,
        database: Database,
        settings: MailSettings | None,
        *,
        retry_delays: Sequence[timedelta] = RETRY_DELAYS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._settings = settings
        self._timeout_seconds = timeout_seconds
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
        with closing(MailServer(self._settings, self._timeout_seconds)) as server:
            try:
                return self._outbox.deliver(partial(_send, server), seconds=seconds)
            except ChannelDown as down:
                log.warning("mail_server_unreachable", reason=str(down))
                self._unreachable.inc()
                return Delivered(attempts=0, unfinished=False)

    def backlog(self) -> DeliveryBacklog:
        """Counts of e-mails that are waiting and that were given up."""
        return self._outbox.backlog()


class MailServer:
    """One connection, opened on first use and reopened after an error.

    Reports errors by class and code only: their messages contain addresses.
    """

    def __init__(self, settings: MailSettings, timeout_seconds: float) -> None:
        self.sender = settings.sender
        self._settings = settings
        self._timeout_seconds = timeout_seconds
        self._smtp: smtplib.SMTP | None = None

    def send(self, message: EmailMessage) -> None:
        """Raises DeliveryFailed if this message is refused, ChannelDown if every one would be."""
        smtp = self._smtp = self._smtp or self._connect()
        try:
            smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as refused:
            [(code, _)] = refused.recipients.values()
            raise _refused(code) from None
        except smtplib.SMTPSenderRefused as refused:
            # Our own address is refused, which would fail every message.
            raise ChannelDown(f"sender refused: {refused.smtp_code}") from None
        except smtplib.SMTPDataError as refused:
            raise _refused(refused.smtp_code) from None
        except smtplib.SMTPNotSupportedError as error:
            raise DeliveryFailed(type(error).__name__, final=True) from None
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise DeliveryFailed(type(error).__name__) from None

    def close(self) -> None:
        """Quit and close the connection."""
        if self._smtp is not None:
            with suppress(OSError, smtplib.SMTPException):
                self._smtp.quit()
            self._smtp.close()
            self._smtp = None

    def _connect(self) -> smtplib.SMTP:
        try:
            smtp = self._open()
        except (OSError, smtplib.SMTPException) as error:
            raise ChannelDown(_name(error)) from None
        try:
            self._secure_and_log_in(smtp)
        except (OSError, smtplib.SMTPException) as error:
            smtp.close()
            raise ChannelDown(_name(error)) from None
        return smtp

    def _open(self) -> smtplib.SMTP:
        host, port = self._settings.host, self._settings.port
        if self._settings.tls is Tls.TLS:
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(host, port, timeout=self._timeout_seconds, context=context)
        return smtplib.SMTP(host, port, timeout=self._timeout_seconds)

    def _secure_and_log_in(self, smtp: smtplib.SMTP) -> None:
        if self._settings.tls is Tls.STARTTLS:
            smtp.starttls(context=ssl.create_default_context())
        if self._settings.user:
            smtp.login(self._settings.user, self._settings.password)


def _send(server: MailServer, db: Session, delivery: EmailDelivery) -> None:
    row = (
        db.execute(
            notices()
            .add_columns(User.username, User.email)
            .join(User, User.id == Notification.user_id)
            .where(Notification.id == delivery.id)
        )
        .mappings()
        .one()
    )
    columns = dict(row)
    username, address = columns.pop("username"), columns.pop("email")
    try:
        message = compose(
            Notice(**columns),
            username=username,
            address=address,
            sender=server.sender,
            sent_at=datetime.now(UTC),
        )
    except InvalidAddress:
        raise DeliveryFailed("no usable address", final=True) from None
    server.send(message)


def _refused(code: int) -> DeliveryFailed:
    """RFC 5321: 5yz is permanent, 4yz temporary."""
    return DeliveryFailed(f"refused: {code}", final=500 <= code < 600)  # noqa: PLR2004 - SMTP's own


def _name(error: Exception) -> str:
    code = getattr(error, "smtp_code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} {code}"
