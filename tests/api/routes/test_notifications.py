"""What members are told in-app."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient, Log
from tests.support.factories import Shop

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}


def told_session(shop: Shop, bids: dict[CheckedClient, int], inventory: int = 1) -> SessionView:
    """A session scored by price alone, closed, its bidders told."""
    session = shop.session(inventory=inventory, **BY_PRICE)
    for client, price in bids.items():
        client.post("/api/bid", json={"session_id": str(session.session_id), "price": price})
    shop.close(session)
    shop.services.announcing.announce(session.session_id, seconds=30)
    return session


def listed(client: CheckedClient, query: str = "") -> tuple[list[dict[str, Any]], int]:
    answer = client.get(f"/api/notifications{query}")
    assert answer.status_code == 200
    return answer.json, int(answer.headers["X-Total-Count"])


def test_winner_and_loser_are_told_how_the_session_ended_for_them(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    session = told_session(shop, {admin: 150, member: 140})
    [[won], total] = listed(admin)
    [[lost], _] = listed(member)
    assert total == 1
    assert won == {
        "notification_id": won["notification_id"],
        "kind": "session_ended",
        "session_id": str(session.session_id),
        "product_name": "Item",
        "rank": 1,
        "price": 150.0,
        "price_to_pay": 150.0,
        "currency": "EUR",
        "is_winner": True,
        "message": "You won Item: rank 1 with your bid of 150.00 EUR."
        f" You pay 150.00 EUR by {datetime.fromisoformat(won['pay_by']):%Y-%m-%d %H:%M} UTC.",
        "pay_by": won["pay_by"],
        "created_at": won["created_at"],
        "read_at": None,
    }
    assert (lost["rank"], lost["price"], lost["is_winner"]) == (2, 140.0, False)
    assert lost["price_to_pay"] is None
    assert lost["message"] == (
        "You did not win Item: rank 2 with your bid of 140.00 EUR; the first place won."
    )


def test_losers_are_told_how_many_places_won(
    admin: CheckedClient, member: CheckedClient, log_in: Log, shop: Shop
) -> None:
    told_session(shop, {admin: 150, member: 140, (third := log_in("cleo")): 130}, inventory=2)
    assert listed(third)[0][0]["message"].endswith("; the first 2 places won.")


def test_who_did_not_bid_is_told_nothing(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    told_session(shop, {admin: 150})
    assert listed(member) == ([], 0)


def test_notifications_come_newest_first_in_pages(admin: CheckedClient, shop: Shop) -> None:
    sessions = [told_session(shop, {admin: 150}) for _ in range(5)]
    newest = [str(session.session_id) for session in reversed(sessions)]
    pages = [listed(admin, f"?page={page}&page_size=2") for page in (1, 2, 3, 4)]
    assert [[each["session_id"] for each in listing] for listing, _ in pages] == [
        newest[:2],
        newest[2:4],
        newest[4:],
        [],
    ]
    assert {total for _, total in pages} == {5}


def test_a_notification_is_read_once(admin: CheckedClient, shop: Shop) -> None:
    told_session(shop, {admin: 150})
    [[told], _] = listed(admin, "?unread=true")
    path = f"/api/notifications/{told['notification_id']}/read"
    assert admin.put(path).status_code == 204
    [[read], total] = listed(admin)
    assert (read["read_at"] is None, total) == (False, 1)
    assert listed(admin, "?unread=true") == ([], 0)
    assert admin.put(path).status_code == 204
    assert listed(admin) == ([read], 1)


def test_all_are_read_at_once_and_only_ones_own(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    for _ in range(2):
        told_session(shop, {admin: 150, member: 140})
    assert admin.post("/api/notifications/read").status_code == 204
    assert listed(admin, "?unread=true&page_size=1") == ([], 0)
    assert listed(member, "?unread=true&page_size=1")[1] == 2
    assert listed(admin, "?unread=false")[1] == 2


def test_another_members_notification_is_not_found(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    told_session(shop, {admin: 150})
    [[told], _] = listed(admin)
    refused = member.put(f"/api/notifications/{told['notification_id']}/read")
    assert (refused.status_code, refused.json["code"]) == (404, "notification_not_found")
    assert listed(admin)[0] == [told]


@pytest.mark.parametrize("name", [str(UUID(int=1)), "7", "null", UUID(int=1).hex])
def test_a_notification_that_nobody_wrote_is_not_found(member: CheckedClient, name: str) -> None:
    refused = member.put(f"/api/notifications/{name}/read")
    assert (refused.status_code, refused.json["code"]) == (404, "notification_not_found")


@pytest.mark.parametrize(
    "query", ["unread=1", "unread=True", "unread=", "page=0", "page_size=101", "page=1.5"]
)
def test_a_wrong_query_is_refused(member: CheckedClient, query: str) -> None:
    refused = member.get(f"/api/notifications?{query}")
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")


def test_rank_and_price_are_those_of_the_results(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    session = told_session(shop, {admin: 150, member: 140})
    for client in (admin, member):
        [[told], _] = listed(client)
        rows = shop.rows(
            "SELECT rank, price FROM rankings WHERE session_id = :session AND user_id = :user",
            session=session.session_id,
            user=client.account.user_id,
        )
        assert rows == [(told["rank"], Decimal(str(told["price"])))]
