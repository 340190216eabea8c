"""E-mails against a real SMTP server."""

import socket
import ssl
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from trustme import CA

from core.config.channels import MailSettings, Tls
from core.notifications.announcing import Announcing
from core.notifications.email import Mailer
from core.notifications.mail_server import MailServer
from core.notifications.outbox import DeliveryBacklog
from core.telemetry.metrics import REGISTRY
from dev.children import free_port
from tests.integration.notifications.mail import (
    SENDER,
    Mailbox,
    mailer,
    mailer_of,
    text_of,
    told_session,
)
from tests.support.crashing import Killed
from tests.support.factories import Shop

PASSWORD = "a secret"


def test_winner_and_loser_get_one_message_each_over_one_connection(
    shop: Shop, port: int, mailbox: Mailbox
) -> None:
    told_session(shop, "ada", "bob")
    for _ in range(2):
        mailer(shop, port).deliver_due(seconds=30)
    assert sorted(message["Subject"] for message in mailbox.got) == [
        "The sale has ended",
        "You won",
    ]
    addresses = {row[0] for row in shop.rows("SELECT email FROM users")}
    assert {message["To"] for message in mailbox.got} == addresses
    ids = {row[0] for row in shop.rows("SELECT id FROM notifications")}
    assert {message["Message-ID"] for message in mailbox.got} == {
        f"<{each}@shop.example>" for each in ids
    }
    assert len(mailbox.peers) == 1
    assert mailer(shop, port).backlog() == DeliveryBacklog(waiting=0, given_up=0)


def test_bidders_of_a_cancelled_session_are_mailed_the_reason(
    shop: Shop, port: int, mailbox: Mailbox
) -> None:
    session = shop.session()
    for name in ("ada", "bob"):
        shop.bid(shop.bidder(name), session, "150")
    shop.services.session_edits.cancel(session.session_id, "See evil.example")
    shop.services.closing.close(session.session_id)
    announcing = Announcing(shop.services.database, by_email=True)
    assert announcing.announce(session.session_id, seconds=30).members == 2
    mailer(shop, port).deliver_due(seconds=30)
    assert [message["Subject"] for message in mailbox.got] == ["The sale was cancelled"] * 2
    for kind in ("plain", "html"):
        assert "The sale of Item was cancelled: See evil. example" in text_of(mailbox.got[0], kind)
    assert shop.rows("SELECT count(*) FROM webhook_deliveries") == [(0,)]


def test_names_are_text_in_html_and_as_they_are_in_plain_text(
    shop: Shop, port: int, mailbox: Mailbox
) -> None:
    told_session(shop, "<b>ada</b>", product="<script>x</script>\u2028Ü")
    mailer(shop, port).deliver_due(seconds=30)
    [message] = mailbox.got
    assert "Dear <b>ada</b>," in text_of(message, "plain")
    assert "&lt;b&gt;ada&lt;/b&gt;" in text_of(message, "html")
    assert "<script>" not in text_of(message, "html")
    assert "Product: <script>x</script> Ü" in text_of(message, "plain").splitlines()


@pytest.mark.parametrize(("answer", "attempts"), [("550 no such user", 1), ("450 busy", 3)])
def test_a_refused_address_is_given_up_at_once_or_after_the_last_retry(
    shop: Shop,
    port: int,
    mailbox: Mailbox,
    said: Callable[[], str],
    answer: str,
    attempts: int,
) -> None:
    told_session(shop, "ada")
    mailbox.answer = answer
    mailer(shop, port).deliver_due(seconds=30)
    assert shop.rows("SELECT attempts, last_error FROM email_deliveries") == [
        (attempts, f"refused: {answer[:3]}")
    ]
    assert mailer(shop, port).backlog() == DeliveryBacklog(waiting=0, given_up=1)
    assert "delivery_failed" in said()
    assert "@example.com" not in said()


def test_while_nobody_answers_no_attempt_is_counted_and_all_goes_out_later(
    shop: Shop, port: int, mailbox: Mailbox
) -> None:
    told_session(shop, "ada", "bob")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = mailer(shop, silent.getsockname()[1], deadline_seconds=0.1)
        before = counted("unreachable")
        dead.deliver_due(seconds=30)
        assert counted("unreachable") == before + 1
    assert shop.rows("SELECT DISTINCT attempts, last_error FROM email_deliveries") == [(0, None)]
    before = counted("delivered")
    mailer(shop, port).deliver_due(seconds=30)
    assert counted("delivered") == before + 2
    assert len(mailbox.got) == 2


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CA:
    """Signs certificates that this process trusts, and no other does."""
    authority = CA()
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return authority


@pytest.fixture
def private_port(mailbox: Mailbox, authority: CA, tls: Tls) -> Iterator[int]:
    """A server that takes mail over TLS alone, from who knows its user and password."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    private: dict[str, Any] = {"ssl_context": context}
    if tls is Tls.STARTTLS:
        private = {"tls_context": context, "require_starttls": True}
    else:
        # To the server a connection that was encrypted from its beginning is a plain one.
        private |= {"auth_require_tls": False}
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=_knows,
        auth_required=True,
        **private,
    )
    controller.start()
    yield controller.port
    controller.stop()


def _knows(server: Any, session: Any, envelope: Any, mechanism: str, said: LoginPassword) -> Any:
    is_known = (said.login, said.password) == (b"shop", PASSWORD.encode())
    return AuthResult(success=is_known, handled=False, auth_data=said.login)


def private_mailer(shop: Shop, port: int, tls: Tls, password: str = PASSWORD) -> Mailer:
    return mailer_of(shop, MailSettings("127.0.0.1", port, "shop", password, SENDER, tls))


ENCRYPTED = pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.TLS])


@ENCRYPTED
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_mail_goes_out_over_an_encrypted_connection_after_a_login(
    shop: Shop, private_port: int, mailbox: Mailbox, tls: Tls
) -> None:
    told_session(shop, "ada", "bob")
    private_mailer(shop, private_port, tls).deliver_due(seconds=30)
    assert len(mailbox.got) == 2
    assert mailbox.encrypted == {True}
    assert mailbox.logins == {b"shop"}


@ENCRYPTED
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_wrong_password_keeps_the_mail_and_is_no_attempt(
    shop: Shop,
    private_port: int,
    mailbox: Mailbox,
    tls: Tls,
    said: Callable[[], str],
) -> None:
    told_session(shop, "ada")
    private_mailer(shop, private_port, tls, "not the secret").deliver_due(seconds=30)
    assert mailbox.got == []
    assert shop.rows("SELECT attempts, last_error FROM email_deliveries") == [(0, None)]
    assert "SMTPAuthenticationError 535" in said()
    assert "not the secret" not in said()


@ENCRYPTED
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(
    shop: Shop,
    private_port: int,
    mailbox: Mailbox,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_session(shop, "ada")
    monkeypatch.delenv("SSL_CERT_FILE")
    private_mailer(shop, private_port, tls).deliver_due(seconds=30)
    assert mailbox.got == []
    assert private_mailer(shop, private_port, tls).backlog() == DeliveryBacklog(
        waiting=1, given_up=0
    )


def test_a_server_without_starttls_gets_nothing_when_that_is_asked_for(
    shop: Shop, port: int, mailbox: Mailbox
) -> None:
    told_session(shop, "ada")
    private_mailer(shop, port, Tls.STARTTLS).deliver_due(seconds=30)
    assert mailbox.got == []


def test_a_crash_between_sending_and_noting_repeats_one_message_recognisably(
    shop: Shop, port: int, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_session(shop, "ada", "bob", "cleo")
    send = MailServer.send

    def send_and_die(self: MailServer, message: EmailMessage, recipient: str) -> None:
        send(self, message, recipient)
        raise Killed

    monkeypatch.setattr(MailServer, "send", send_and_die)
    with pytest.raises(Killed):
        mailer(shop, port).deliver_due(seconds=30)
    monkeypatch.undo()
    mailer(shop, port).deliver_due(seconds=30)
    ids = [message["Message-ID"] for message in mailbox.got]
    assert (len(ids), len(set(ids))) == (4, 3)


def test_the_envelope_has_the_senders_address_whatever_the_name(
    shop: Shop, port: int, mailbox: Mailbox
) -> None:
    told_session(shop, "ada")
    mailer(shop, port).deliver_due(seconds=30)
    assert mailbox.senders == {"sales@shop.example"}
    assert mailbox.got[0]["From"] == '"Shop, Inc." <sales@shop.example>'


def counted(outcome: str) -> float:
    labels = {"channel": "email", "outcome": outcome}
    return REGISTRY.get_sample_value("flashbid_notifications_total", labels) or 0
