"""The prices that the close writes, and those of successors."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from core.orders import prices
from core.orders.prices import write_prices
from core.postgres.models import BiddingSession
from core.rules.pricing import Pricing
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

BY_PRICE: dict[str, Any] = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0, "inventory": 2}
SECOND_SCORE = BY_PRICE | {"pricing": Pricing.SECOND_SCORE.value}
BIDS = ("120", "150", "130", "140", "110")


def sold(shop: Shop, *bids: str, **terms: Any) -> SessionView:
    """A session that is closed, with a bid by a new member for each of these."""
    session = shop.session(**terms)
    for bid in bids:
        shop.bid(shop.bidder(), session, bid)
    assert shop.close(session)
    return session


def written(shop: Shop) -> list[Decimal | None]:
    return [price for (price,) in shop.rows("SELECT price_to_pay FROM rankings ORDER BY rank")]


def write(shop: Shop, session: SessionView, *ranks: int) -> None:
    with shop.services.database.begin() as db:
        write_prices(db, db.get_one(BiddingSession, session.session_id), ranks)


@pytest.mark.parametrize(
    ("bids", "terms", "expected"),
    [
        (BIDS, BY_PRICE, ["150", "140", None, None, None]),
        # The best loser bid before 140, and after 150.
        (BIDS, SECOND_SCORE, ["130.00", "130.01", None, None, None]),
        (("120", "150"), SECOND_SCORE, ["100", "100"]),
        ((), SECOND_SCORE, []),
        # Of equal bids the earlier ones win, and nothing less than the bid does.
        (("120", "120", "120"), SECOND_SCORE, ["120", "120", None]),
    ],
)
def test_the_close_writes_what_winners_pay(
    shop: Shop, bids: tuple[str, ...], terms: dict[str, Any], expected: list[str | None]
) -> None:
    sold(shop, *bids, **terms)
    assert written(shop) == [None if price is None else Decimal(price) for price in expected]


@pytest.mark.parametrize("chunk", [1, 10_000])
def test_successors_have_to_beat_the_rank_behind_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(prices, "_CHUNK_RANKS", chunk)
    session = sold(shop, *BIDS, **SECOND_SCORE)
    write(shop, session, 3, 4, 5)
    assert [str(price) for price in written(shop)] == [
        "130.00",
        "130.01",
        "120.01",
        "110.00",
        "100.00",
    ]


def test_a_price_that_was_told_stays(shop: Shop) -> None:
    session = sold(shop, *BIDS, **BY_PRICE)
    before = written(shop)
    with shop.services.database.begin() as db:
        db.get_one(BiddingSession, session.session_id).pricing = Pricing.SECOND_SCORE.value
    write(shop, session, 1, 2)
    assert written(shop) == before


def test_the_ranking_keeps_all_that_its_scores_were_computed_from(shop: Shop) -> None:
    sold(shop, *BIDS, pricing=Pricing.SECOND_SCORE.value)
    terms = "price, score, response_time, weight, sequence"
    assert shop.rows(f"SELECT {terms} FROM rankings ORDER BY sequence") == shop.rows(  # noqa: S608 - constants
        f"SELECT {terms} FROM bids ORDER BY sequence"  # noqa: S608 - constants
    )


def test_a_session_keeps_the_currency_that_it_was_created_with(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shop.session()
    monkeypatch.setattr(shop.services.sessions, "_currency", "SEK")
    found = [shop.services.sessions.get(each.session_id) for each in (before, shop.session())]
    assert [session.currency for session in found] == ["EUR", "SEK"]


def test_no_price_to_pay_is_above_the_bid(shop: Shop) -> None:
    sold(shop, *BIDS, **SECOND_SCORE)
    with (
        pytest.raises(IntegrityError, match="price_to_pay_is_bid"),
        shop.services.engine.begin() as db,
    ):
        db.exec_driver_sql("UPDATE rankings SET price_to_pay = price + 0.01")


def test_a_close_that_dies_after_the_prices_writes_neither_them_nor_ranks(shop: Shop) -> None:
    session = shop.session(**SECOND_SCORE)
    shop.bid(shop.bidder(), session, "120")
    closing, settle = shop.services.closing, shop.services.closing._settle

    def die(*arguments: Any) -> None:
        settle(*arguments)
        raise KeyboardInterrupt

    closing._settle = die
    with pytest.raises(KeyboardInterrupt):
        shop.close(session)
    assert written(shop) == []
    closing._settle = settle
    assert closing.close(session.session_id)
    assert written(shop) == [Decimal("100.00")]
