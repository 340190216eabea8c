"""Registering, logging in, and what a token opens."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import update

from core.bootstrap import Services, bootstrap
from core.config import Settings
from core.config.passwords import PasswordSettings
from core.members.accounts import Accounts
from core.postgres.models import User
from tests.api.conftest import CheckedClient, Connect
from tests.support.factories import PASSWORD, Shop
from web import create_app

NEW = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}


def test_first_account_is_the_admin_and_the_second_is_not(anyone: CheckedClient) -> None:
    first = anyone.post("/api/auth/register", json=NEW)
    second = anyone.post(
        "/api/auth/register", json={**NEW, "username": "bob", "email": "bob@example.com"}
    )
    assert (first.status_code, first.json["is_admin"]) == (201, True)
    assert (second.status_code, second.json["is_admin"]) == (201, False)


def test_registration_answers_the_account_and_a_token(
    anyone: CheckedClient, settings: Settings
) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    answer = anyone.post("/api/auth/register", json=NEW).json
    assert (answer["username"], answer["email"], answer["weight"]) == (
        "ada",
        "ada@example.com",
        1.0,
    )
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == settings.access_token_expire_minutes * 60
    created_at = datetime.fromisoformat(answer["created_at"])
    assert created_at.utcoffset() == timedelta(0)
    assert before < created_at < datetime.now(UTC) + timedelta(seconds=5)


@pytest.mark.parametrize("password", ["x7-Kq93mz!f", "Passw0rd1234", "adaadaadaada"])
def test_a_shop_may_ask_for_better_passwords(
    services: Services, connect: Connect, clean: None, password: str
) -> None:
    strict = PasswordSettings(min_length=12, refuse_common=True)
    stricter = bootstrap(replace(services.settings, passwords=strict))
    client = connect(create_app(services=replace(services, accounts=stricter.accounts)))
    refused = client.post("/api/auth/register", json={**NEW, "password": password})
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")
    assert list(refused.json["errors"]) == ["password"]
    assert client.post("/api/auth/register", json=NEW).status_code == 201
    stricter.redis.close()
    stricter.engine.dispose()


def test_token_is_good_until_logout_and_refused_afterwards(anyone: CheckedClient) -> None:
    registered = anyone.post("/api/auth/register", json=NEW).json
    me = anyone.with_token(registered["token"]).get("/api/auth/me")
    assert me.json.items() <= registered.items()
    assert anyone.post("/api/auth/logout").status_code == 204
    for refused in (
        anyone.get("/api/auth/me"),
        anyone.post("/api/auth/logout"),
        anyone.get("/api/admin/stats"),
    ):
        assert (refused.status_code, refused.json["code"]) == (401, "token_revoked")


def test_logged_out_token_places_no_bid(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    member.post("/api/auth/logout")
    before = shop.redis_state()
    refused = member.post("/api/bid", json={"session_id": str(session.session_id), "price": 150})
    assert (refused.status_code, refused.json["code"]) == (401, "token_revoked")
    assert shop.redis_state() == before


def test_logout_stands_when_redis_forgets_it(member: CheckedClient, shop: Shop) -> None:
    member.post("/api/auth/logout")
    shop.services.redis.flushdb()
    assert member.get("/api/auth/me").json["code"] == "token_revoked"


def test_logout_ends_one_token_and_no_other(member: CheckedClient, anyone: CheckedClient) -> None:
    login = {"username": "bob", "password": PASSWORD}
    other = anyone.post("/api/auth/login", json=login).json["token"]
    member.post("/api/auth/logout")
    assert anyone.with_token(other).get("/api/auth/me").status_code == 200


def test_login_answers_the_account_and_a_token(
    member: CheckedClient, anyone: CheckedClient
) -> None:
    answer = anyone.post("/api/auth/login", json={"username": "bob", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json["user_id"] == str(member.account.user_id)


@pytest.mark.parametrize("name", ["Ada", "ÉCOLE", "Straße", "İstanbul", "ЖУК", "ΣΑΣ"])
def test_account_is_found_by_its_name_in_every_script(
    anyone: CheckedClient, shop: Shop, name: str
) -> None:
    """PostgreSQL and Python fold the case of some letters differently."""
    shop.account(name)
    assert anyone.post("/api/auth/register", json={**NEW, "username": name}).status_code == 409
    login = anyone.post("/api/auth/login", json={"username": name, "password": PASSWORD})
    assert login.json["username"] == name


def test_case_of_a_name_does_not_matter_for_logging_in(anyone: CheckedClient, shop: Shop) -> None:
    shop.account("Ada")
    login = anyone.post("/api/auth/login", json={"username": "aDA", "password": PASSWORD})
    assert login.json["username"] == "Ada"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"email": "other@example.com"}, "username_taken"),
        ({"email": "other@example.com", "username": "ADA"}, "username_taken"),
        ({"username": "eve"}, "email_taken"),
        ({"username": "eve", "email": "ADA@Example.com"}, "email_taken"),
    ],
)
def test_name_and_address_are_unique_whatever_their_case(
    anyone: CheckedClient, changed: dict[str, str], code: str
) -> None:
    anyone.post("/api/auth/register", json=NEW)
    answer = anyone.post("/api/auth/register", json={**NEW, **changed})
    assert (answer.status_code, answer.json["code"]) == (409, code)


def test_nobody_becomes_an_admin_by_asking(admin: CheckedClient, anyone: CheckedClient) -> None:
    asking = {**NEW, "username": "eve", "is_admin": True, "weight": 5, "user_id": "1"}
    answer = anyone.post("/api/auth/register", json=asking)
    assert (answer.json["is_admin"], answer.json["weight"]) == (False, 1.0)
    refused = anyone.with_token(answer.json["token"]).get("/api/admin/stats")
    assert (refused.status_code, refused.json["code"]) == (403, "admin_required")


def test_demoted_admin_is_refused_at_once(admin: CheckedClient, services: Services) -> None:
    assert admin.get("/api/admin/stats").status_code == 200
    with services.database.begin() as db:
        db.execute(update(User).values(is_admin=False))
    assert admin.get("/api/admin/stats").json["code"] == "admin_required"
    assert admin.get("/api/auth/me").json["is_admin"] is False


class CountingHasher(PasswordHasher):
    """A real hasher that remembers how often it was asked."""

    verified = 0

    def verify(self, *args: Any, **kwargs: Any) -> bool:
        self.verified += 1
        return super().verify(*args, **kwargs)


@pytest.mark.parametrize("login", [("ada", "wrong password"), ("nobody", PASSWORD)])
def test_login_does_not_tell_name_from_password(
    services: Services, shop: Shop, connect: Connect, login: tuple[str, str]
) -> None:
    shop.account("ada")
    hasher = CountingHasher(time_cost=1, memory_cost=8, parallelism=1)
    accounts = Accounts(
        services.database, services.redis, first_account_is_admin=True, hasher=hasher
    )
    client = connect(create_app(services=replace(services, accounts=accounts)))
    username, password = login
    answer = client.post("/api/auth/login", json={"username": username, "password": password})
    assert hasher.verified == 1
    assert answer.status_code == 401
    assert {**answer.json, "request_id": ""} == {
        "type": "urn:flashbid:problem:invalid_credentials",
        "title": "Unauthorized",
        "status": 401,
        "detail": "The username or the password is wrong.",
        "code": "invalid_credentials",
        "request_id": "",
    }


@pytest.mark.parametrize("route", ["login", "register"])
def test_who_would_wait_too_long_for_a_hash_is_refused_for_now(
    services: Services, shop: Shop, connect: Connect, route: str
) -> None:
    accounts = Accounts(
        services.database,
        services.redis,
        first_account_is_admin=True,
        hasher=services.accounts._passwords.hasher,
        max_wait_seconds=0.01,
    )
    client = connect(create_app(services=replace(services, accounts=accounts)))
    with accounts._passwords._gate:
        answer = client.post(f"/api/auth/{route}", json=NEW)
    assert (answer.status_code, answer.json["code"]) == (503, "overloaded")
    assert int(answer.headers["Retry-After"]) >= 1
    assert client.post("/api/auth/register", json=NEW).status_code == 201
    assert client.post("/api/auth/login", json=NEW).status_code == 200


@pytest.mark.parametrize(
    "stored", ["$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW", ""]
)
def test_a_hash_of_another_system_is_answered_like_a_wrong_password(
    services: Services, shop: Shop, anyone: CheckedClient, stored: str
) -> None:
    shop.account("ada")
    with services.database.begin() as db:
        db.execute(update(User).values(password_hash=stored))
    answer = anyone.post("/api/auth/login", json={"username": "ada", "password": PASSWORD})
    assert (answer.status_code, answer.json["code"]) == (401, "invalid_credentials")
