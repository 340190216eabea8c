"""Addresses in messages, as mail servers take them."""

from datetime import UTC, datetime
from decimal import Decimal
from email.headerregistry import Address
from uuid import uuid4

import pytest

from core.notifications.email_message import compose
from core.notifications.inbox import Notice

NOW = datetime(2030, 1, 31, tzinfo=UTC)
PRICE = Decimal("5.00")
NOTICE = Notice(uuid4(), "session_ended", uuid4(), "Camera", 1, PRICE, PRICE, "EUR", 1, NOW, None)


@pytest.mark.parametrize(
    ("address", "header"),
    [
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@bu\u0308cher.example", "ada@xn--bcher-kva.example"),
        ("Ada@example.com", "Ada@example.com"),
        ('"a b"@example.com', '"a b"@example.com'),
    ],
    ids=ascii,
)
def test_mail_goes_to_the_ascii_form_of_an_older_accounts_address(
    address: str, header: str
) -> None:
    sender = Address(addr_spec="s@t.com")
    message = compose(NOTICE, username="ada", address=address, sender=sender, sent_at=NOW)
    assert message["To"] == header
