"""The connection to the mail server: one for a batch of messages.

Every step has a deadline by the wall clock, however the server spends the time: in the name
lookup, the handshake, or with one byte every few seconds.
"""

import asyncio
import ssl
from contextlib import suppress
from email.message import EmailMessage

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from core.config.channels import MailSettings, Tls
from core.notifications.outbox import ChannelDown, DeliveryFailed
from core.runtime import EventLoop

_QUIT_SECONDS = 2.0


class MailServer:
    """One connection, opened on first use and reopened after an error.

    Reports errors by class and code only: their messages contain addresses.
    """

    def __init__(self, settings: MailSettings, loop: EventLoop, *, deadline_seconds: float) -> None:
        self._settings = settings
        self._loop = loop
        self._deadline_seconds = deadline_seconds
        self._smtp: SMTP | None = None

    def send(self, message: EmailMessage, recipient: str) -> None:
        """Raises DeliveryFailed if this message is refused, ChannelDown if every one would be."""
        self._loop.run(self._send(message, recipient))

    def close(self) -> None:
        """Quit and close the connection."""
        self._loop.run(self._quit())

    async def _send(self, message: EmailMessage, recipient: str) -> None:
        # The server may have hung up after the last message.
        if self._smtp is None or not self._smtp.is_connected:
            self._smtp = await self._connect()
        smtp = self._smtp
        try:
            async with asyncio.timeout(self._deadline_seconds):
                await self._pass_on(smtp, message, recipient)
        except (ChannelDown, DeliveryFailed):
            raise
        except TimeoutError:
            self._drop()
            raise DeliveryFailed(f"not sent within {self._deadline_seconds:g} s") from None
        except (OSError, SMTPException) as error:
            self._drop()
            raise DeliveryFailed(_name(error)) from None
        except BaseException:
            # The connection may be in the middle of this message.
            self._drop()
            raise

    async def _pass_on(self, smtp: SMTP, message: EmailMessage, recipient: str) -> None:
        sender = self._settings.sender.addr_spec
        try:
            await smtp.send_message(message, sender=sender, recipients=[recipient])
        except SMTPRecipientsRefused as refused:
            raise _refused(refused.recipients[0].code) from None
        except SMTPDataError as refused:
            raise _refused(refused.code) from None
        except SMTPNotSupported as error:
            raise DeliveryFailed(type(error).__name__, final=True) from None
        except SMTPSenderRefused as refused:
            await _require_sender(smtp, sender)
            raise _refused(refused.code) from None

    async def _connect(self) -> SMTP:
        settings = self._settings
        smtp = SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.user or None,
            password=settings.password if settings.user else None,
            use_tls=settings.tls is Tls.TLS,
            start_tls=settings.tls is Tls.STARTTLS,
            tls_context=None if settings.tls is Tls.NONE else ssl.create_default_context(),
            timeout=None,
        )
        # Whatever the error, it would be the same for every message.
        try:
            async with asyncio.timeout(self._deadline_seconds):
                await smtp.connect()
        except Exception as error:  # noqa: BLE001 - see above
            smtp.close()
            raise ChannelDown(_name(error)) from None
        return smtp

    def _drop(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None

    async def _quit(self) -> None:
        if self._smtp is not None:
            with suppress(OSError, SMTPException):
                async with asyncio.timeout(_QUIT_SECONDS):
                    await self._smtp.quit()
        self._drop()


async def _require_sender(smtp: SMTP, sender: str) -> None:
    """Raises ChannelDown if the server refuses our own address in any message.

    Otherwise it refused this message alone, such as one that needs SMTPUTF8.
    """
    try:
        await smtp.mail(sender)
        await smtp.rset()
    except SMTPSenderRefused as refused:
        raise ChannelDown(f"sender refused: {refused.code}") from None


def _refused(code: int) -> DeliveryFailed:
    """RFC 5321: 5yz is permanent, 4yz temporary."""
    return DeliveryFailed(f"refused: {code}", final=500 <= code < 600)  # noqa: PLR2004 - SMTP's own


def _name(error: Exception) -> str:
    code = f" {error.code}" if isinstance(error, SMTPResponseException) else ""
    return type(error).__name__ + code
