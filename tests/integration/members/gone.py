"""Sales whose members are deleted, and what is then shown and refused."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from core import errors
from core.bidding.placing import Bidder
from core.members.accounts import Account
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

DELETED = "deleted member"
BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}


def execute(shop: Shop, statement: str, **parameters: Any) -> None:
    with shop.services.engine.begin() as connection:
        connection.execute(text(statement), parameters)


def delete(shop: Shop, bidder: Bidder | Account) -> None:
    execute(shop, "DELETE FROM users WHERE id = :id", id=bidder.user_id)


def sale(shop: Shop, *names: str, **terms: Any) -> tuple[SessionView, list[Bidder]]:
    """A session with a bid by each of them, the first one's the highest."""
    session = shop.session(**BY_PRICE | {"inventory": 2} | terms)
    bidders = [shop.bidder(name) for name in names]
    for number, bidder in enumerate(bidders):
        shop.bid(bidder, session, str(150 - number))
    return session, bidders


def board(shop: Shop, session: SessionView) -> list[tuple[int, UUID, str]]:
    page = shop.services.board.page(session.session_id, page=1, page_size=50)
    return [(entry.rank, entry.user_id, entry.username) for entry in page.leaderboard]


def expected(bidders: list[Bidder], gone: int) -> list[tuple[int, UUID, str]]:
    return [
        (rank, bidder.user_id, DELETED if rank == gone else bidder.username)
        for rank, bidder in enumerate(bidders, start=1)
    ]


def refusal(shop: Shop, bidder: Bidder, session: SessionView, price: str = "180") -> type | None:
    try:
        shop.bid(bidder, session, price)
    except errors.Refusal as refused:
        return type(refused)
    return None


def is_valid(shop: Shop, bidder: Bidder) -> bool:
    try:
        shop.services.revocations.require_valid(bidder.token_id, bidder.user_id)
    except errors.AccountDisabled:
        return False
    return True
