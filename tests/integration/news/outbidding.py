"""Shared by the tests of news: boards that change, and what members are told."""

from typing import Any

from sqlalchemy import text

from core.bidding.placing import Bidder
from core.notifications.inbox import Notice
from core.notifications.outbid import Outbid
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}


def looking(shop: Shop, kind: type[Outbid] = Outbid, **options: Any) -> Outbid:
    services = shop.services
    return kind(services.database, services.redis, **{"by_email": True} | options)


def look(shop: Shop) -> int:
    """Look at all running sessions; how many members were told."""
    return looking(shop).look(seconds=30)


def watched(shop: Shop, *prices: int, inventory: int = 1) -> tuple[SessionView, list[Bidder]]:
    """A session that was looked at once, with a bid of each price."""
    session = shop.session(inventory=inventory, **BY_PRICE)
    bidders = [shop.bidder() for _ in prices]
    for bidder, price in zip(bidders, prices, strict=True):
        shop.bid(bidder, session, str(price))
    assert look(shop) == 0
    return session, bidders


def notices(shop: Shop, bidder: Bidder) -> list[Notice]:
    found, _ = shop.services.notifications.of_member(
        bidder.user_id, unread_only=False, page=1, page_size=50
    )
    return list(found)


def kinds(shop: Shop, bidder: Bidder) -> list[str]:
    return [notice.kind for notice in notices(shop, bidder)]


def change(shop: Shop, statement: str, **parameters: Any) -> None:
    with shop.services.engine.begin() as connection:
        connection.execute(text(statement), parameters)


def want_email(shop: Shop, *bidders: Bidder) -> None:
    for bidder in bidders:
        shop.services.accounts.want_email_news(bidder.user_id, True)


def a_minute_passes(shop: Shop) -> None:
    """Let what was told be a minute older."""
    change(shop, "UPDATE notifications SET created_at = created_at - INTERVAL '1 minute'")
