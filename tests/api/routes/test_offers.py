"""Offers over HTTP: the shop settles them, members list and decline their own."""

from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient, Log
from tests.integration.orders.offering import BY_PRICE, change, events, expire, offers
from tests.support.factories import Shop


@pytest.fixture
def cleo(admin: CheckedClient, log_in: Log) -> CheckedClient:
    return log_in("cleo")


@pytest.fixture
def sale(
    admin: CheckedClient, member: CheckedClient, cleo: CheckedClient, shop: Shop
) -> SessionView:
    """One item: bob bid most, cleo is next, the admin third."""
    session = shop.session(inventory=1, **BY_PRICE)
    for client, price in ((member, 150), (cleo, 140), (admin, 130)):
        bid = {"session_id": str(session.session_id), "price": price}
        assert client.post("/api/bid", json=bid).status_code == 200
    shop.close(session)
    return session


def listed(client: CheckedClient, sale: SessionView, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/api/admin/sessions/{sale.session_id}/offers{query}")
    assert answer.status_code == 200
    return answer.json


def settled(admin: CheckedClient, sale: SessionView, offer_id: str, how: str) -> Any:
    body = {"json": {"hand_on": True}} if how == "withdrawn" else {}
    return admin.put(f"/api/admin/sessions/{sale.session_id}/offers/{offer_id}/{how}", **body)


def test_the_shop_sees_who_may_buy_for_what_until_when(
    admin: CheckedClient, member: CheckedClient, sale: SessionView
) -> None:
    [offer] = listed(admin, sale)
    expires_at = datetime.fromisoformat(offer.pop("expires_at"))
    opened_at = datetime.fromisoformat(offer.pop("opened_at"))
    assert expires_at - opened_at == timedelta(days=1)
    assert expires_at.utcoffset() == timedelta()
    assert offer == {
        "offer_id": offer["offer_id"],
        "session_id": str(sale.session_id),
        "product_name": "Item",
        "user_id": str(member.account.user_id),
        "username": "bob",
        "email": member.account.email,
        "rank": 1,
        "place": 1,
        "price_to_pay": 150.0,
        "currency": "EUR",
        "state": "open",
        "settled_at": None,
        "version": 1,
    }


def test_the_flow_from_the_sale_to_the_second_chance_and_the_payment(
    admin: CheckedClient, member: CheckedClient, sale: SessionView, shop: Shop
) -> None:
    [first] = member.get("/api/offers").json
    assert member.put(f"/api/offers/{first['offer_id']}/decline").json["state"] == "declined"
    [second] = listed(admin, sale, "?state=open")
    assert (second["username"], second["price_to_pay"]) == ("cleo", 140.0)
    paid = settled(admin, sale, second["offer_id"], "paid").json
    assert (paid["state"], paid["version"]) == ("paid", 2)
    assert [(o["rank"], o["state"]) for o in listed(admin, sale)] == [(1, "declined"), (2, "paid")]
    assert [event for event, _, _ in events(shop)] == [
        "offer.opened",
        "offer.declined",
        "offer.opened",
        "offer.paid",
    ]


def test_pages_of_offers_have_the_total_count(
    admin: CheckedClient, sale: SessionView, shop: Shop
) -> None:
    expire(shop)
    shop.services.offers.sweep(seconds=inf)
    answer = admin.get(f"/api/admin/sessions/{sale.session_id}/offers?page=2&page_size=1")
    assert [offer["rank"] for offer in answer.json] == [2]
    assert answer.headers["X-Total-Count"] == "2"


@pytest.mark.parametrize("how", ["paid", "declined", "withdrawn"])
@pytest.mark.parametrize("again", ["paid", "declined", "withdrawn"])
def test_settling_again_is_answered_alike_or_refused(
    admin: CheckedClient, sale: SessionView, how: str, again: str
) -> None:
    [offer] = listed(admin, sale)
    first = settled(admin, sale, offer["offer_id"], how)
    second = settled(admin, sale, offer["offer_id"], again)
    if how == again:
        assert (second.status_code, second.json) == (200, first.json)
    else:
        assert (second.status_code, second.json["code"]) == (409, "offer_settled")
        assert how in second.json["detail"]


@pytest.mark.parametrize("how", ["paid", "declined", "withdrawn"])
def test_what_comes_after_the_deadline_is_refused(
    admin: CheckedClient, sale: SessionView, shop: Shop, how: str
) -> None:
    [offer] = listed(admin, sale)
    expire(shop)
    answer = settled(admin, sale, offer["offer_id"], how)
    assert (answer.status_code, answer.json["code"]) == (409, "offer_expired")
    assert [state for _, _, state in offers(shop)] == ["expired", "open"]


@pytest.mark.parametrize("offer_id", ["nonsense", str(UUID(int=1))])
def test_an_unknown_offer_is_not_found(
    admin: CheckedClient, member: CheckedClient, sale: SessionView, offer_id: str
) -> None:
    for answer in (
        settled(admin, sale, offer_id, "paid"),
        member.put(f"/api/offers/{offer_id}/decline"),
    ):
        assert (answer.status_code, answer.json["code"]) == (404, "offer_not_found")


def test_the_offer_of_another_member_is_not_found_and_stays_open(
    admin: CheckedClient, sale: SessionView, shop: Shop
) -> None:
    [offer] = listed(admin, sale)
    assert admin.get("/api/offers").json == []
    answer = admin.put(f"/api/offers/{offer['offer_id']}/decline")
    assert (answer.status_code, answer.json["code"]) == (404, "offer_not_found")
    assert offers(shop) == [(1, 1, "open")]


def test_a_cancelled_session_has_no_offers(admin: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    change(
        shop,
        "UPDATE sessions SET status = 'cancelled', cancelled_at = :now",
        now=datetime.now(UTC),
    )
    assert listed(admin, session) == []
    answer = settled(admin, session, str(uuid4()), "paid")
    assert (answer.status_code, answer.json["code"]) == (404, "offer_not_found")


@pytest.mark.parametrize("body", [{}, {"hand_on": None}, {"hand_on": "true"}])
def test_a_withdrawal_says_whether_the_place_goes_on(
    admin: CheckedClient, sale: SessionView, shop: Shop, body: dict[str, Any]
) -> None:
    [offer] = listed(admin, sale)
    path = f"/api/admin/sessions/{sale.session_id}/offers/{offer['offer_id']}/withdrawn"
    assert admin.put(path, json=body).json["errors"].keys() == {"hand_on"}
    assert offers(shop) == [(1, 1, "open")]
    assert admin.put(path, json={"hand_on": False}).json["state"] == "withdrawn"
    assert len(offers(shop)) == 1


def test_offers_of_a_session_that_is_none_are_not_found(admin: CheckedClient) -> None:
    answer = admin.get(f"/api/admin/sessions/{uuid4()}/offers")
    assert (answer.status_code, answer.json["code"]) == (404, "session_not_found")


def test_a_successor_reads_of_the_offer_and_its_deadline_while_it_is_open(
    admin: CheckedClient, cleo: CheckedClient, sale: SessionView, shop: Shop
) -> None:
    [offer] = listed(admin, sale)
    settled(admin, sale, offer["offer_id"], "declined")
    change(shop, "UPDATE offers SET expires_at = '2040-01-31 18:00Z' WHERE state = 'open'")
    [notice] = cleo.get("/api/notifications").json
    assert (notice["kind"], notice["is_winner"]) == ("offer_opened", False)
    assert notice["message"] == (
        "Item came free for you at rank 2. You pay 140.00 EUR by 2040-01-31 18:00 UTC."
    )
    assert notice["pay_by"] == "2040-01-31T18:00:00+00:00"
    [open_offer] = cleo.get("/api/offers").json
    settled(admin, sale, open_offer["offer_id"], "paid")
    [notice] = cleo.get("/api/notifications").json
    assert notice["message"] == "Item came free for you at rank 2. You pay 140.00 EUR."
    assert notice["pay_by"] is None
