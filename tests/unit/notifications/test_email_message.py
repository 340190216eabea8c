"""E-mails: nothing that somebody chose is in a header, or a link."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest

from core.notifications.email_message import compose, unlinked
from core.notifications.inbox import Notice, NotificationKind

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


def notice_of(kind: str, rank: int | None = 1, **more: Any) -> Notice:
    facts: dict[str, Any] = {
        "product_name": "Camera",
        "price_to_pay": Decimal("130.01") if rank == 1 else None,
        "created_at": NOW,
        "pay_by": NOW if rank == 1 else None,
    }
    return Notice(
        notification_id=UUID(int=1),
        kind=kind,
        session_id=UUID(int=2),
        rank=rank,
        price=Decimal("150.00"),
        currency="SEK",
        inventory=1,
        read_at=None,
        **facts | more,
    )


def message(
    username: str = "ada",
    product: str = "Camera",
    rank: int | None = 1,
    kind: str = "session_ended",
    public_url: str = "",
    **more: Any,
) -> EmailMessage:
    return compose(
        notice_of(kind, product_name=product, rank=rank, **more),
        username=username,
        address="ada@shop.example",
        sender=Address("The Shop", "sales", "shop.example"),
        sent_at=NOW,
        public_url=public_url,
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


PAGE = "https://sale.shop.example"
SESSION_URL = f"{PAGE}/#/session/{UUID(int=2)}"
KINDS: dict[str, dict[str, Any]] = {
    "session_ended": {},
    "session_cancelled": {"rank": None, "cancel_reason": "The lamp broke."},
    "offer_opened": {"rank": 2},
    "offer_ended": {"rank": 2, "offer_state": "expired"},
    "outbid": {"rank": None, "end_time": NOW},
    "starting": {"rank": None, "start_time": NOW},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_email_links_to_the_page_and_says_how_to_switch_news_off(kind: str) -> None:
    found = message(kind=kind, public_url=PAGE, **KINDS[kind])
    for text in texts(found):
        assert SESSION_URL in text
        assert f"{PAGE}/#/account" in text
        assert "Next step: " in text
        news = "You get this because you have switched on news by e-mail."
        assert (news in text) is (kind in ("outbid", "starting"))
        assert "always comes by e-mail" in text or news in text


def test_every_kind_of_a_member_can_be_an_email() -> None:
    assert set(KINDS) == set(NotificationKind) - {NotificationKind.WEBHOOK_DISABLED}


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_address_of_the_page_there_is_no_link(kind: str) -> None:
    for text in texts(message(kind=kind, **KINDS[kind])):
        assert "http" not in text
        assert "href" not in text


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("session_ended", "Next step: Pay 130.01 SEK by 2030-01-31 00:00 UTC."),
        ("outbid", "Next step: Bid again before 2030-01-31 00:00 UTC."),
        ("starting", "Next step: Be there at 2030-01-31 00:00 UTC."),
    ],
)
def test_an_email_says_the_next_step(kind: str, step: str) -> None:
    for text in texts(message(kind=kind, **KINDS[kind])):
        assert step in text


def test_an_email_that_is_new_again_is_another_message() -> None:
    first = message(kind="outbid", **KINDS["outbid"])
    again = message(kind="outbid", **KINDS["outbid"], created_at=NOW + timedelta(minutes=1))
    assert first["Message-ID"] != again["Message-ID"]
    assert first["Message-ID"] == message(kind="outbid", **KINDS["outbid"])["Message-ID"]


@pytest.mark.parametrize("kind", ["outbid", "starting"])
def test_news_is_overtaken_by_the_time_that_it_is_about(kind: str) -> None:
    limit = {"start_time": NOW, "end_time": NOW}
    assert notice_of(kind, **limit).is_overtaken(NOW)
    assert not notice_of(kind, **limit).is_overtaken(NOW - timedelta(seconds=1))
    assert notice_of(kind, **limit, cancel_reason="Broken.").is_overtaken(NOW - timedelta(days=1))
    assert not notice_of("session_ended", **limit).is_overtaken(NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_with_braces_is_a_name(kind: str) -> None:
    assert "{it.kind}" in notice_of(kind, **KINDS[kind], product_name="{it.kind}").message


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
