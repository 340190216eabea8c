"""`Idempotency-Key`: what is created once, whatever happens to the answer."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from core.members.api_keys import Scope
from core.members.idempotency import store_response
from core.sessions import products
from core.sessions.sessions import Sessions
from tests.api.conftest import CheckedClient, Connect, Log
from tests.support.crashing import Killed
from tests.support.factories import PASSWORD, Shop
from web.guards import idempotency
from web.guards.operation import Operation
from web.routes.documents.examples import body_example

KEY = {"Idempotency-Key": "5f0c"}
PRODUCTS, COMBINED = "/api/admin/products", "/api/admin/sessions/combined"
PRODUCT: dict[str, Any] = {"name": "Camera"}
TERMS: dict[str, Any] = {"name": "Camera", "upset_price": 100.5, "inventory": 2}


def add(client: CheckedClient, key: str = "5f0c", **product: Any) -> TestResponse:
    return client.post(PRODUCTS, json={**PRODUCT, **product}, headers={"Idempotency-Key": key})


def is_replayed(answer: TestResponse) -> bool:
    return answer.headers.get("Idempotency-Replayed") == "true"


def count(shop: Shop, table: str) -> int:
    return shop.rows(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - a table of this file


def creating_routes(app: Flask) -> dict[str, Operation]:
    """Where admins create something, as declared."""
    declared = [
        (rule.rule, getattr(app.view_functions[rule.endpoint], "operation", None))
        for rule in app.url_map.iter_rules()
    ]
    return {path: each for path, each in declared if each and each.is_repeatable}


def test_every_route_that_creates_for_an_admin_creates_once(
    app: Flask, admin: CheckedClient, shop: Shop
) -> None:
    """A route whose service stores no response creates twice here."""
    product_id = admin.post(PRODUCTS, json=PRODUCT).json["product_id"]
    routes = creating_routes(app)
    assert {PRODUCTS, COMBINED} < set(routes)
    for path, operation in routes.items():
        assert operation.body is not None, path
        body = {**body_example(operation.body), "product_id": product_id}
        session = shop.session()
        shop.close(session)
        there = path.replace("<session_id>", str(session.session_id))
        first, again = (admin.post(there, json=body, headers=KEY) for _ in range(2))
        assert first.status_code == again.status_code == 201, path
        assert [is_replayed(first), is_replayed(again)] == [False, True], path
        assert again.json == idempotency._kept(first.json), path
        assert first.mimetype == again.mimetype, path
    # A repeated response changes nothing, so it is no action.
    assert count(shop, "admin_actions") == 1 + len(routes)


def test_without_a_key_each_request_creates(admin: CheckedClient, shop: Shop) -> None:
    answers = [admin.post(PRODUCTS, json=PRODUCT) for _ in range(2)]
    assert not any(map(is_replayed, answers))
    assert (count(shop, "products"), count(shop, "stored_responses")) == (2, 0)


@pytest.mark.parametrize("key", ["", "a" * 256, "a" * 10_240, "a b", "é", "a\tb", "\x7f"])
def test_a_bad_key_is_refused(admin: CheckedClient, shop: Shop, key: str) -> None:
    refused = add(admin, key)
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")
    assert list(refused.json["errors"]) == ["Idempotency-Key"]
    assert count(shop, "products") == 0


@pytest.mark.parametrize("key", ["a", "!" * 255, "~"])
def test_a_key_of_any_allowed_form_is_taken(admin: CheckedClient, key: str) -> None:
    assert [is_replayed(add(admin, key)) for _ in range(2)] == [False, True]


@pytest.mark.parametrize("body", ['{"name":"Camera"}', '{"name": "Lens"}', '{"name": "Camera"} '])
def test_a_key_with_another_body_is_refused(admin: CheckedClient, shop: Shop, body: str) -> None:
    """The raw body counts: what another one means is not compared."""
    admin.post_raw(PRODUCTS, '{"name": "Camera"}', headers=KEY)
    refused = admin.post_raw(PRODUCTS, body, headers=KEY)
    assert (refused.status_code, refused.json["code"]) == (422, "idempotency_key_reused")
    assert count(shop, "products") == 1


def test_keys_of_other_callers_and_routes_are_other_keys(
    admin: CheckedClient, log_in: Log, shop: Shop, connect: Connect
) -> None:
    second = log_in("bob")
    shop.services.membership.promote("bob")
    written = [
        shop.services.api_keys.create(name, [Scope.SALES_WRITE], owner="ada")[0]
        for name in ("one", "two")
    ]
    programs = [connect(admin.application).with_token(key) for key in written]
    for client in (admin, second, *programs):
        for path in (PRODUCTS, COMBINED):
            answers = [client.post(path, json=TERMS, headers=KEY) for _ in range(2)]
            assert [is_replayed(answer) for answer in answers] == [False, True]
    assert count(shop, "products") == 8


def test_a_refusal_is_not_repeated(admin: CheckedClient, shop: Shop) -> None:
    body = {**TERMS, "product_id": "1b4e28ba-2fa1-41d2-883f-0016d3cca427"}
    path = "/api/admin/sessions"
    assert admin.post(path, json=body, headers=KEY).status_code == 404
    assert count(shop, "stored_responses") == 0
    body["product_id"] = add(admin, "other").json["product_id"]
    assert admin.post(path, json=body, headers=KEY).status_code == 201


def test_who_may_no_longer_create_gets_no_repeated_response(
    admin: CheckedClient, shop: Shop
) -> None:
    add(admin)
    shop.services.membership.demote("ada")
    assert add(admin).json["code"] == "admin_required"


def test_after_a_day_a_key_is_new(admin: CheckedClient, shop: Shop) -> None:
    add(admin)
    shift = "UPDATE stored_responses SET created_at = created_at - interval '24 hours'"
    with shop.services.engine.begin() as connection:
        connection.execute(text(shift))
    assert [is_replayed(add(admin, name="Lens")) for _ in range(2)] == [False, True]
    assert count(shop, "products") == 2


# In a crash

Store = Callable[[Session, object], None]


def dies_before_it_is_stored(db: Session, created: object) -> None:
    raise Killed


def dies_before_the_commit(db: Session, created: object) -> None:
    store_response(db, created)
    raise Killed


def loses_the_database(db: Session, created: object) -> None:
    store_response(db, created)
    pid = db.scalar(text("SELECT pg_backend_pid()"))
    with db.get_bind().connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})


@pytest.mark.parametrize("store", [dies_before_it_is_stored, dies_before_the_commit])
def test_a_crash_before_the_commit_leaves_neither(
    admin: CheckedClient, shop: Shop, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    with monkeypatch.context() as crash:
        crash.setattr(products, "store_response", store)
        with pytest.raises(Killed):
            add(admin)
    assert (count(shop, "products"), count(shop, "stored_responses")) == (0, 0)
    assert [is_replayed(add(admin)) for _ in range(2)] == [False, True]


def test_a_crash_after_the_commit_leaves_both(
    admin: CheckedClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as crash:
        crash.setattr(Sessions, "_created", die)
        with pytest.raises(Killed):
            admin.post(COMBINED, json=TERMS, headers=KEY)
    again = admin.post(COMBINED, json=TERMS, headers=KEY)
    assert is_replayed(again)
    assert shop.rows("SELECT id::text FROM sessions") == [(again.json["session_id"],)]


def test_a_database_that_goes_in_between_leaves_neither(
    admin: CheckedClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outage:
        outage.setattr(products, "store_response", loses_the_database)
        assert add(admin).json["code"] == "temporarily_unavailable"
    assert (count(shop, "products"), count(shop, "stored_responses")) == (0, 0)
    assert [is_replayed(add(admin)) for _ in range(2)] == [False, True]


# Where it has no meaning


def test_registration_and_login_take_no_part(anyone: CheckedClient, shop: Shop) -> None:
    """Their responses have tokens."""
    account = {"username": "eve", "email": "eve@example.com", "password": PASSWORD}
    bad = {"Idempotency-Key": "a" * 10_240}
    registered = anyone.post("/api/auth/register", json=account, headers=KEY)
    assert registered.status_code == 201
    assert anyone.post("/api/auth/register", json=account, headers=KEY).status_code == 409
    tokens = {
        anyone.post("/api/auth/login", json=account, headers=headers).json["token"]
        for headers in (KEY, KEY, bad)
    }
    assert len(tokens) == 3
    assert count(shop, "stored_responses") == 0


def test_no_secret_is_kept() -> None:
    made = {"endpoint_id": "1", "secret": "whsec_x", "token": "t", "name": "shop"}
    kept = idempotency._kept(made)
    assert kept == {"endpoint_id": "1", "secret": None, "token": None, "name": "shop"}
