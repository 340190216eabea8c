"""E-mails: nothing that somebody chose is in a header, or a link."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from email.headerregistry import Address
from email.message import EmailMessage
from uuid import UUID

import pytest

from core.notifications.email_message import compose, unlinked
from core.notifications.inbox import Notice

NOW = datetime(2030, 1, 31, tzinfo=UTC)
# What mail programs turn into links: schemes, host names with any of IDNA's dots, addresses.
LINK = re.compile(r"\w:/|\w:\w*[^\W\d]|[^\W\d][.\u3002\uff0e\uff61\u2024]\w|\w@\w")

HOSTILE = [
    "http://evil.example/win",
    "https:evil.example",
    "www.evil.example",
    "evil.example",
    "EVIL.EXAMPLE",
    "evil\u3002example",
    "evil\uff0eexample",
    "evil\uff61example",
    "evil\u200b.example",
    "evil.\u2060example",
    "evil.\u00adexample",
    "пример.рф",
    "mailto:eve@evil.example",
    "eve@evil.example",
    "eve\uff20evil.example",
    "tel:+4912345",
    "javascript:alert",
    "1evil.example",
    "<a href=http://evil.example>win</a>",
]


def message(
    username: str = "ada", product: str = "Camera", rank: int = 1, kind: str = "session_ended"
) -> EmailMessage:
    notice = Notice(
        notification_id=UUID(int=1),
        kind=kind,
        session_id=UUID(int=2),
        product_name=product,
        rank=rank,
        price=Decimal("150.00"),
        price_to_pay=Decimal("130.01") if rank == 1 else None,
        currency="SEK",
        inventory=1,
        created_at=NOW,
        read_at=None,
    )
    return compose(
        notice,
        username=username,
        address="ada@shop.example",
        sender=Address("The Shop", "sales", "shop.example"),
        sent_at=NOW,
    )


def texts(found: EmailMessage) -> list[str]:
    parts = [found.get_body((kind,)) for kind in ("plain", "html")]
    return [str(part.get_content()) for part in parts if part]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_no_link(name: str) -> None:
    assert not LINK.search(unlinked(name))
    for text in texts(message(username=name, product=name)):
        assert not LINK.search(text.replace("font-family:", ""))


@pytest.mark.parametrize(("rank", "told"), [(1, True), (2, False)])
def test_winners_are_told_what_they_pay(rank: int, told: bool) -> None:
    for text in texts(message(rank=rank)):
        assert "with your bid of 150.00 SEK" in text
        assert ("You pay" in text) is (text.count("130.01 SEK") == 2) is told


def test_a_successor_is_told_that_an_item_came_free() -> None:
    found = message(rank=2, kind="offer_opened")
    assert found["Subject"] == "An item came free for you"
    assert all("Camera came free for you at rank 2." in text for text in texts(found))


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("name", [*HOSTILE, "Camera\r\nBcc: eve@evil.example", "A plain name"])
def test_no_header_has_a_chosen_name(name: str, rank: int) -> None:
    chosen = message(username=name, product=name, rank=rank)
    assert chosen.items() == [
        (header, text) if header != "Content-Type" else ("Content-Type", chosen["Content-Type"])
        for header, text in message(rank=rank).items()
    ]


@pytest.mark.parametrize(
    "name", ["Ada", "Camera 2.0", "J. R. Smith", "10:30", "USB-C 3.1/2", "Größe 4,5", "a/b", "…"]
)
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert unlinked(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("two\u2028lines", "two lines"),
        ("two\r\nlines", "two lines"),
        ("a\u202eb", "ab"),
        ("Dr.Who", "Dr. Who"),
    ],
)
def test_a_name_is_on_one_line_and_visible(name: str, shown: str) -> None:
    assert unlinked(name) == shown
