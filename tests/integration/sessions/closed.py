"""Shared by the tests of closing."""

from decimal import Decimal
from typing import Any

from core.sessions.sessions import SessionView
from tests.support.factories import Shop

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}
Rank = tuple[int, str, Decimal]


def session_with_bids(shop: Shop, *prices: str, inventory: int = 2) -> SessionView:
    """A session scored by price alone, with a bid by a new member for each price."""
    session = shop.session(inventory=inventory, **BY_PRICE)
    for price in prices:
        shop.bid(shop.bidder(), session, price)
    return session


def rankings(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows("SELECT rank, sequence, price FROM rankings ORDER BY rank")


def stored(shop: Shop, column: str) -> Any:
    [(value,)] = shop.rows(f"SELECT {column} FROM sessions")  # noqa: S608 - a column of ours
    return value


def results(shop: Shop, session: SessionView) -> Any:
    return shop.services.results.get(session.session_id, page=1, page_size=50)
