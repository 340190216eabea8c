"""An e-mail that cannot be sent, and a mail server that fails at it, hold up no other."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from core.config.channels import MailSettings, Tls
from tests.integration.notifications.dripping import dripping
from tests.integration.notifications.mail import (
    SENDER,
    Mailbox,
    mailer,
    mailer_of,
    told_session,
)
from tests.support.factories import Shop


def address_of(shop: Shop, username: str) -> str:
    [(address,)] = shop.rows("SELECT email FROM users WHERE username = :name", name=username)
    return str(address)


def deliveries(shop: Shop) -> dict[str, tuple[int, str | None, bool]]:
    """Attempts, last error and whether it was delivered, by username."""
    rows = shop.rows(
        "SELECT username, attempts, last_error, delivered_at IS NOT NULL FROM email_deliveries"
        "  JOIN notifications ON id = notification_id JOIN users ON users.id = user_id"
    )
    return {name: (attempts, error, done) for name, attempts, error, done in rows}


LATER = (timedelta(hours=1),)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("drips", "not sent within 0.5 s"),
        ("hangs up", "SMTPServerDisconnected"),
        ("nonsense", "SMTPServerDisconnected"),
        ("421 too much", "refused: 421"),
    ],
)
def test_a_message_at_which_the_server_fails_does_not_hold_up_the_others(
    shop: Shop, port: int, mailbox: Mailbox, fault: str, error: str
) -> None:
    told_session(shop, "ada", "bob", "cleo")
    mailbox.faults = {address_of(shop, "ada"): fault}
    slow = 0.5 if fault == "drips" else 30
    mailer(shop, port, slow, retry_delays=LATER).deliver_due(seconds=60)
    found = deliveries(shop)
    assert found["ada"][0] == 1
    assert not found["ada"][2]
    assert found["ada"][1] in (error, "SMTPResponseException -1")
    assert found["bob"] == found["cleo"] == (1, None, True)


def test_a_server_that_drips_its_greeting_is_unreachable(shop: Shop) -> None:
    told_session(shop, "ada")
    with dripping(b"220-wait\r\n") as port:
        mailer(shop, port, deadline_seconds=0.5).deliver_due(seconds=60)
    assert deliveries(shop)["ada"] == (0, None, False)


def test_a_handshake_that_never_ends_is_unreachable(shop: Shop) -> None:
    told_session(shop, "ada")
    with dripping(b"\x16\x03\x03\x40\x00") as port:
        settings = MailSettings("127.0.0.1", port, "", "", SENDER, Tls.TLS)
        mailer_of(shop, settings, deadline_seconds=0.5).deliver_due(seconds=60)
    assert deliveries(shop)["ada"] == (0, None, False)


@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "x" * 64 + ".example", "127.0.0.1\x00", "ab..cd", "127.0.0.1"]
)
def test_a_server_that_cannot_be_addressed_is_no_attempt(shop: Shop, host: str) -> None:
    told_session(shop, "ada")
    mailer_of(shop, MailSettings(host, 1, "", "", SENDER, Tls.NONE)).deliver_due(seconds=60)
    assert deliveries(shop)["ada"] == (0, None, False)


UNUSABLE = [
    "",
    "@",
    "ada",
    "ada@",
    "a b@shop.example",
    "ada@shop.example\r\nBcc: eve@shop.example",
    "ada@shop.example, eve@shop.example",
    "<ada@shop.example>",
    "ada@" + "x" * 245,
    "ädä@shop.example",
    "ada@shop.example\u2028",
]


@pytest.mark.parametrize("address", UNUSABLE)
def test_an_address_that_cannot_be_used_fails_alone(
    shop: Shop, port: int, mailbox: Mailbox, address: str
) -> None:
    told_session(shop, "ada", "bob")
    with shop.services.engine.begin() as connection:
        connection.execute(
            text("UPDATE users SET email = :address WHERE username = 'ada'"), {"address": address}
        )
    mailbox.refuses_utf8 = True
    mailer(shop, port, retry_delays=LATER).deliver_due(seconds=60)
    found = deliveries(shop)
    assert found["bob"] == (1, None, True)
    assert found["ada"][0] == 1
    # What one server refuses another may take: the whole text is one address.
    assert found["ada"][2] or found["ada"][1]
    assert len(mailbox.got) == 1 + found["ada"][2]
    assert not any("eve" in str(message["Bcc"]) for message in mailbox.got)


def test_a_member_who_is_gone_gets_no_mail_and_the_others_do(
    shop: Shop, port: int, mailbox: Mailbox
) -> None:
    told_session(shop, "ada", "bob", "cleo")
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM users WHERE username = 'ada'")
    mailer(shop, port).deliver_due(seconds=30)
    assert len(mailbox.got) == 2
    assert shop.rows(
        "SELECT attempts, last_error FROM email_deliveries WHERE delivered_at IS NULL"
    ) == [(1, "the account is gone")]


def test_a_sender_that_is_refused_keeps_all_mail(
    shop: Shop, port: int, mailbox: Mailbox, said: Callable[[], str]
) -> None:
    told_session(shop, "ada", "bob")
    mailbox.sender_is_refused = True
    mailer(shop, port).deliver_due(seconds=30)
    assert set(deliveries(shop).values()) == {(0, None, False)}
    assert "sender refused: 553" in said()
