"""A mail server, a mailer for it, and e-mails that are due."""

import asyncio
from datetime import timedelta
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

from core.config.channels import MailSettings, Tls
from core.notifications.announcing import Announcing
from core.notifications.email import Mailer
from tests.support.factories import Shop

SENDER = Address("Shop, Inc.", "sales", "shop.example")
AT_ONCE = (timedelta(0),) * 2


class Mailbox:
    """Takes every message, unless `answer` says otherwise."""

    def __init__(self) -> None:
        self.answer = "250 OK"
        self.faults: dict[str, str] = {}
        self.got: list[EmailMessage] = []
        self.sender_is_refused = self.refuses_utf8 = False
        self.senders: set[str] = set()
        self.peers: set[Any] = set()
        self.encrypted: set[bool] = set()
        self.logins: set[Any] = set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        fault = self.faults.get(address)
        if fault == "drips":
            await self._drip(server)
        if fault == "hangs up":
            server.transport.close()
        envelope.rcpt_tos.append(address)
        return fault or self.answer

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.sender_is_refused or (self.refuses_utf8 and "SMTPUTF8" in options):
            return "553 not this sender"
        envelope.mail_from = address
        self.senders.add(address)
        return "250 OK"

    async def _drip(self, server: Any) -> None:
        """A byte now and then, and never a whole line."""
        while not server.transport.is_closing():
            server.transport.write(b"2")
            await asyncio.sleep(0.02)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.peers.add(session.peer)
        self.encrypted.add(server.transport.get_extra_info("ssl_object") is not None)
        self.logins.add(session.auth_data)
        self.got.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


def mailer(
    shop: Shop,
    port: int,
    deadline_seconds: float = 30,
    retry_delays: tuple[timedelta, ...] = AT_ONCE,
) -> Mailer:
    return mailer_of(
        shop,
        MailSettings("127.0.0.1", port, "", "", SENDER, Tls.NONE),
        deadline_seconds=deadline_seconds,
        retry_delays=retry_delays,
    )


def mailer_of(shop: Shop, settings: MailSettings, **options: Any) -> Mailer:
    services = shop.services
    return Mailer(
        services.database, services.runtime.loop, settings, **{"retry_delays": AT_ONCE} | options
    )


def told_session(shop: Shop, *usernames: str, product: str = "Item") -> None:
    session = shop.session(inventory=1, alpha=1.0, beta=0.0, gamma=0.0)
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE products SET name = %s", (product,))
    for number, username in enumerate(usernames):
        shop.bid(shop.bidder(username), session, str(150 - number))
    shop.close(session)
    Announcing(shop.services.database, by_email=True).announce(session.session_id, seconds=30)


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part
    return str(part.get_content())
