"""API keys over HTTP: where they open a door, and where none does."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.members.api_keys import Scope
from tests.api.conftest import CheckedClient, Connect
from tests.support.factories import Shop
from tests.support.http.document import Document
from web import create_app

PRODUCT = {"name": "Camera"}
PRODUCTS = "/api/admin/products"
WithKey = Callable[..., CheckedClient]


@pytest.fixture
def with_key(admin: CheckedClient, shop: Shop, connect: Connect) -> WithKey:
    """A client with a key of these scopes, which acts for ada."""

    def client_with(*scopes: Scope, name: str = "shop") -> CheckedClient:
        written, _ = shop.services.api_keys.create(name, scopes)
        return connect(admin.application).with_token(written)

    return client_with


def key_of(client: CheckedClient) -> str:
    return client.environ_base["HTTP_AUTHORIZATION"].removeprefix("Bearer ")


def test_a_key_opens_the_routes_of_its_scope(with_key: WithKey) -> None:
    seller = with_key(Scope.SALES_WRITE)
    assert seller.post(PRODUCTS, json=PRODUCT).status_code == 201
    assert [each["name"] for each in seller.get(PRODUCTS).json] == ["Camera"]


@pytest.mark.parametrize("scope", [each for each in Scope if each is not Scope.SALES_WRITE])
def test_a_key_of_another_scope_is_told_which_one_it_lacks(with_key: WithKey, scope: Scope) -> None:
    refused = with_key(scope).post(PRODUCTS, json=PRODUCT)
    assert (refused.status_code, refused.json["code"]) == (403, "scope_missing")
    assert refused.json["scope"] == "sales:write"


def test_no_key_opens_a_route_without_a_scope(
    with_key: WithKey, document: Document, shop: Shop
) -> None:
    """No bids, no account, no admin log: whatever its scopes."""
    client = with_key(*Scope)
    session = shop.session()
    bid = {"session_id": str(session.session_id), "price": 150}
    closed = [
        key
        for key, operation in document.operations().items()
        if operation["security"] == [{"token": []}]
    ]
    assert len(closed) >= 12
    assert "POST /api/bid" in closed
    for key in closed:
        method, path = key.split()
        if "{" not in path:
            refused = client.open(path, method=method, json=bid)
            assert (refused.status_code, refused.json["code"]) == (403, "scope_missing"), key
            assert "scope" not in refused.json
    assert shop.rows("SELECT 1 FROM bids") == []


def test_the_document_names_the_scope(document: Document) -> None:
    security = document.operations()["POST /api/admin/products"]["security"]
    assert security == [{"token": []}, {"api_key": ["sales:write"]}]
    described = document.json["components"]["securitySchemes"]["api_key"]["description"]
    assert all(scope in described for scope in Scope)


@pytest.mark.parametrize("place", ["query", "cookie", "body", "scheme"])
def test_a_key_counts_as_a_bearer_token_only(
    with_key: WithKey, anyone: CheckedClient, place: str
) -> None:
    key = key_of(with_key(Scope.SALES_WRITE))
    sent: dict[str, dict[str, Any]] = {
        "query": {"query_string": {"api_key": key, "access_token": key}, "json": PRODUCT},
        "cookie": {"headers": {"Cookie": f"api_key={key}"}, "json": PRODUCT},
        "body": {"json": {**PRODUCT, "api_key": key}},
        "scheme": {"headers": {"Authorization": f"Basic {key}"}, "json": PRODUCT},
    }
    assert anyone.post(PRODUCTS, **sent[place]).json["code"] == "token_missing"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ("UPDATE api_keys SET revoked_at = now()", 401, "token_revoked"),
        ("UPDATE api_keys SET expires_at = now()", 401, "token_expired"),
        ("DELETE FROM api_keys", 401, "token_invalid"),
        ("UPDATE users SET is_admin = false", 403, "admin_required"),
        ("UPDATE users SET disabled_at = now()", 403, "account_disabled"),
    ],
)
def test_a_refused_key_says_why(
    with_key: WithKey, shop: Shop, change: str, status: int, code: str
) -> None:
    seller = with_key(Scope.SALES_WRITE)
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql(change)
    refused = seller.post(PRODUCTS, json=PRODUCT)
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert "Log in" not in refused.json["detail"]
    assert shop.rows("SELECT 1 FROM products") == []


def test_the_admin_log_names_the_key_and_its_owner(
    with_key: WithKey, admin: CheckedClient, shop: Shop
) -> None:
    name = "x" * 50
    with_key(Scope.SALES_WRITE, name=name).post(PRODUCTS, json=PRODUCT)
    [view] = shop.services.api_keys.list()
    [action] = admin.get("/api/admin/actions").json
    assert action["actor"] == f"API key {name} ({view.key_id})"
    assert action["actor_id"] == str(admin.account.user_id)


def test_a_stranger_who_tries_keys_is_slowed_and_others_are_not(
    with_key: WithKey, shop: Shop, connect: Connect
) -> None:
    key = key_of(with_key(Scope.SALES_WRITE))
    settings = shop.services.settings
    limits = replace(settings.limits, reads_per_minute=3)
    client = connect(
        create_app(services=replace(shop.services, settings=replace(settings, limits=limits)))
    )

    def code(key: str, address: str) -> str | None:
        answer = client.get(
            PRODUCTS,
            headers={"Authorization": f"Bearer {key}"},
            environ_base={"REMOTE_ADDR": address},
        )
        return answer.json["code"] if answer.status_code != 200 else None

    stranger, shops_own = "203.0.113.9", "192.0.2.1"
    tried = [code(f"fbk_{number:032x}_{'A' * 43}", stranger) for number in range(4)]
    assert tried == ["token_invalid"] * 3 + ["rate_limited"]
    assert [code(key, shops_own) for _ in range(5)] == [None] * 5


def test_a_key_is_in_no_log_line(
    with_key: WithKey, anyone: CheckedClient, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(with_key(Scope.ORDERS_READ))
    caplog.set_level(logging.DEBUG)
    forged = f"{key[:-4]}AAAA"
    for sent in (key, forged):
        anyone.get(PRODUCTS, headers={"Authorization": f"Bearer {sent}"})
        anyone.get(f"{PRODUCTS}?api_key={sent}")
    written = json.dumps([str(record.msg) for record in caplog.records])
    assert "UnknownApiKey" in written
    assert key[37:-4] not in written
