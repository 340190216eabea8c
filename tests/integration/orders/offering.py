"""Shared by the tests of offers."""

from math import inf
from typing import Any
from uuid import UUID

from sqlalchemy import text

from core.sessions.sessions import SessionView
from tests.support.factories import Shop

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}
TOP_PRICE = 900


def sold(shop: Shop, bidders: int, *, inventory: int, **terms: Any) -> SessionView:
    """A closed session with so many ranks, each a cent below the one before."""
    session = bid_on(shop, bidders, inventory=inventory, **terms)
    shop.close(session)
    return session


def bid_on(shop: Shop, bidders: int, *, inventory: int, **terms: Any) -> SessionView:
    """A session with so many standing bids, by members named after their ranks."""
    session = shop.session(inventory=inventory, **BY_PRICE, **terms)
    for rank in range(1, bidders + 1):
        shop.bid(shop.bidder(f"rank{rank}"), session, f"{TOP_PRICE - rank / 100:.2f}")
    return session


def offers(shop: Shop) -> list[tuple[int, int, str]]:
    """Rank, place and state of every offer, by rank."""
    return shop.rows("SELECT rank, place, state FROM offers ORDER BY session_id, rank")  # type: ignore[return-value]


def offer_of(shop: Shop, rank: int) -> UUID:
    [(offer_id,)] = shop.rows("SELECT id FROM offers WHERE rank = :rank", rank=rank)
    return offer_id


def change(shop: Shop, statement: str, **parameters: Any) -> None:
    with shop.services.engine.begin() as connection:
        connection.execute(text(statement), parameters)


def expire(shop: Shop, condition: str = "true") -> None:
    """Let the time of open offers be over at this moment."""
    change(
        shop,
        "UPDATE offers SET expires_at = clock_timestamp()"  # noqa: S608 - a condition of ours
        f" WHERE state = 'open' AND ({condition})",
    )


def sweep(shop: Shop) -> int:
    return shop.services.offers.sweep(seconds=inf).expired


def events(shop: Shop) -> list[tuple[str, int, int]]:
    """Event, rank and version, in the order of writing."""
    return shop.rows(  # type: ignore[return-value]
        "SELECT event, cast(data->>'rank' AS integer), version FROM shop_events"
        " WHERE event LIKE 'offer.%' ORDER BY created_at, 2"
    )
