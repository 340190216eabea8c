"""Admins disable members, enable them again, and see their offers. One admin always remains."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from core import errors
from dev.embedded.server import wait_until
from tests.api.conftest import CheckedClient, Log
from tests.support.factories import PASSWORD, Shop
from tests.support.racing import BARRIER_SECONDS, blocked

LOGIN = {"username": "bob", "password": PASSWORD}
DISABLED = "SELECT username FROM users WHERE disabled_at IS NOT NULL"


def change(admin: CheckedClient, whose: object, how: str) -> Any:
    return admin.put(f"/api/admin/members/{whose}/{how}")


def test_a_member_is_disabled_and_enabled_again(
    admin: CheckedClient, member: CheckedClient, anyone: CheckedClient
) -> None:
    user_id = str(member.account.user_id)
    for _ in range(2):
        disabled = change(admin, user_id, "disable")
        assert (disabled.status_code, disabled.json["is_disabled"]) == (200, True)
        assert member.get("/api/auth/me").json["code"] == "account_disabled"
        assert anyone.post("/api/auth/login", json=LOGIN).json["code"] == "account_disabled"
    [listed] = admin.get("/api/admin/members?search=bob").json
    assert listed == disabled.json == admin.get(f"/api/admin/members/{user_id}").json
    for _ in range(2):
        enabled = change(admin, user_id, "enable")
        assert enabled.json == {**listed, "is_disabled": False}
        assert member.get("/api/auth/me").status_code == 200
    assert anyone.post("/api/auth/login", json=LOGIN).status_code == 200


def test_it_is_recorded_who_disabled_whom(admin: CheckedClient, member: CheckedClient) -> None:
    change(admin, member.account.user_id, "disable")
    change(admin, member.account.user_id, "enable")
    actions = admin.get("/api/admin/actions").json
    assert [(each["action"], each["actor"], each["outcome"]) for each in actions] == [
        ("enable_member", "ada", "done"),
        ("disable_member", "ada", "done"),
    ]
    assert {each["details"]["user_id"] for each in actions} == {str(member.account.user_id)}


@pytest.mark.parametrize("how", ["", "/disable", "/enable"])
@pytest.mark.parametrize("whose", [UUID(int=7), "bob", "ada"])
def test_accounts_go_by_their_id_alone(
    admin: CheckedClient, member: CheckedClient, whose: object, how: str
) -> None:
    answer = admin.open(f"/api/admin/members/{whose}{how}", method="PUT" if how else "GET")
    assert (answer.status_code, answer.json["code"]) == (404, "account_not_found")


@pytest.mark.parametrize("how", ["disable", "enable"])
def test_an_erased_account_is_gone(
    admin: CheckedClient, member: CheckedClient, shop: Shop, how: str
) -> None:
    shop.services.erasure.erase(member.account.user_id)
    assert change(admin, member.account.user_id, how).json["code"] == "account_not_found"


def test_members_disable_nobody(admin: CheckedClient, member: CheckedClient, shop: Shop) -> None:
    for whose in (admin, member):
        answer = change(member, whose.account.user_id, "disable")
        assert answer.json["code"] == "admin_required"
    assert shop.rows(DISABLED) == []


def test_admins_cannot_disable_themselves_but_another_admin(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    own = change(admin, admin.account.user_id, "disable")
    assert (own.status_code, own.json["code"]) == (409, "own_account")
    assert shop.rows(DISABLED) == []
    shop.services.membership.promote("bob")
    assert change(member, admin.account.user_id, "disable").status_code == 200
    assert admin.get("/api/admin/stats").json["code"] == "account_disabled"


def test_of_two_admins_who_disable_each_other_at_one_instant_one_remains(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    shop.services.membership.promote("bob")
    ids = [admin.account.user_id, member.account.user_id]
    disable = shop.services.membership.disable
    with ThreadPoolExecutor(2) as threads:
        with shop.services.engine.begin() as holder:
            holder.exec_driver_sql("SELECT FROM users FOR UPDATE")
            asked = [
                threads.submit(disable, str(other), by=own) for own, other in (ids, reversed(ids))
            ]
            assert wait_until(lambda: blocked(shop) == len(asked), BARRIER_SECONDS)
        outcomes = [type(each.exception(BARRIER_SECONDS)) for each in asked]
    assert set(outcomes) == {type(None), errors.AdminRequired}
    assert len(shop.rows(DISABLED)) == 1


def test_an_operator_may_disable_the_last_admin(admin: CheckedClient, shop: Shop) -> None:
    """As when its password has leaked; `enable-member` is the way back."""
    assert shop.services.membership.disable("ada") == "ada"
    assert shop.rows(DISABLED) == [("ada",)]


def test_redis_that_is_away_when_a_member_is_enabled_is_told_by_the_next_try(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    session, redis = shop.session(), shop.services.redis
    bid = {"session_id": str(session.session_id), "price": 150}
    change(admin, member.account.user_id, "disable")
    redis.execute_command("ACL SETUSER default -zrem")
    try:
        answer = change(admin, member.account.user_id, "enable")
    finally:
        redis.execute_command("ACL SETUSER default +zrem")
    assert (answer.status_code, answer.json["code"]) == (503, "temporarily_unavailable")
    assert "still refuses its tokens" in answer.json["detail"]
    assert member.post("/api/bid", json=bid).json["code"] == "account_disabled"
    assert change(admin, member.account.user_id, "enable").status_code == 200
    assert member.post("/api/bid", json=bid).status_code == 200


def test_an_admin_sees_a_members_offers_newest_first(
    admin: CheckedClient, member: CheckedClient, log_in: Log, shop: Shop
) -> None:
    for price in (150, 160):
        session = shop.session(inventory=1)
        bid = {"session_id": str(session.session_id), "price": price}
        assert member.post("/api/bid", json=bid).status_code == 200
        shop.close(session)
    path = f"/api/admin/members/{member.account.user_id}/offers"
    offers = admin.get(path).json
    assert [offer["price_to_pay"] for offer in offers] == [160, 150]
    assert {offer["user_id"] for offer in offers} == {str(member.account.user_id)}
    page = admin.get(f"{path}?page=2&page_size=1")
    assert (page.json, page.headers["X-Total-Count"]) == (offers[1:], "2")
    assert admin.get(f"/api/admin/members/{admin.account.user_id}/offers").json == []
    nobody = admin.get(f"/api/admin/members/{uuid4()}/offers")
    assert (nobody.status_code, nobody.json["code"]) == (404, "account_not_found")
    assert member.get(path).json["code"] == "admin_required"
