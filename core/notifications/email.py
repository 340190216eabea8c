"""Telling members by e-mail how a session ended.

A batch goes over one connection. Between the server's word for a message and the commit
that notes it lies the only moment in which a crash makes that one message go out twice.
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
from core.notifications.email_message import BadAddress, compose
from core.notifications.inbox import Notice, notices
from core.notifications.outbox import Backlog, ChannelDown, Delivered, DeliveryFailed, Outbox
from core.postgres.database import Database
from core.postgres.models import EmailDelivery, Notification, User
from core.telemetry import metrics

log = structlog.get_logger(__name__)

# A message that the server refuses for the moment. While no server can be reached at
# all no attempt is counted: everything waits for its return.
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
        # From the first one on Prometheus must see them rise, so they begin at 0.
        self._unreachable = metrics.NOTIFICATIONS.labels("email", "unreachable")

    @property
    def is_on(self) -> bool:
        """Whether there is a mail server."""
        return self._settings is not None

    def deliver_due(self, *, seconds: float) -> Delivered:
        """Send every e-mail that is due, for so many seconds at most."""
        if self._settings is None:
            return Delivered(attempts=0, unfinished=False)
        with closing(MailServer(self._settings, self._timeout_seconds)) as server:
            try:
                return self._outbox.deliver(partial(_send, server), seconds=seconds)
            except ChannelDown as down:
                log.warning("mail_server_unreachable", reason=str(down))
                self._unreachable.inc()
                return Delivered(attempts=0, unfinished=False)

    def backlog(self) -> Backlog:
        """E-mails that wait, and e-mails that were given up."""
        return self._outbox.backlog()


class MailServer:
    """One connection, opened when it is first needed, and again after it broke.

    Errors are told by name and code alone: their messages carry addresses.
    """

    def __init__(self, settings: MailSettings, timeout_seconds: float) -> None:
        self.sender = settings.sender
        self._settings = settings
        self._timeout_seconds = timeout_seconds
        self._smtp: smtplib.SMTP | None = None

    def send(self, message: EmailMessage) -> None:
        """Raises DeliveryFailed when this message is not taken, ChannelDown when none is."""
        smtp = self._smtp = self._smtp or self._connect()
        try:
            smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as refused:
            [(code, _)] = refused.recipients.values()
            raise _refused(code) from None
        except smtplib.SMTPSenderRefused as refused:
            # Our own address is not liked: that is no fault of this message.
            raise ChannelDown(f"sender refused: {refused.smtp_code}") from None
        except smtplib.SMTPDataError as refused:
            raise _refused(refused.smtp_code) from None
        except smtplib.SMTPNotSupportedError as error:
            raise DeliveryFailed(type(error).__name__, final=True) from None
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise DeliveryFailed(type(error).__name__) from None

    def close(self) -> None:
        """Take leave, if the server still listens."""
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
            self._introduce(smtp)
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

    def _introduce(self, smtp: smtplib.SMTP) -> None:
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
    except BadAddress:
        raise DeliveryFailed("no usable address", final=True) from None
    server.send(message)


def _refused(code: int) -> DeliveryFailed:
    """RFC 5321: 5yz is for good, 4yz for the moment."""
    return DeliveryFailed(f"refused: {code}", final=500 <= code < 600)  # noqa: PLR2004 - SMTP's own


def _name(error: Exception) -> str:
    code = getattr(error, "smtp_code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} {code}"
