"""Creating requests with one Idempotency-Key at once: one creates."""

from collections.abc import Callable
from threading import Barrier, Event

import pytest
from flask import Flask
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from core.members.idempotency import store_response
from core.sessions import products
from tests.support.crashing import Killed
from tests.support.factories import Shop
from tests.support.racing import BARRIER_SECONDS, of, together, wait_for_blocked
from web.guards import tokens

Add = Callable[..., TestResponse]


@pytest.fixture
def add(app: Flask, shop: Shop) -> Add:
    account = shop.account("ada")
    with app.app_context():
        token = tokens.issue(account)["token"]
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "5f0c"}

    def add_product(name: str = "Camera") -> TestResponse:
        return app.test_client().post("/api/admin/products", json={"name": name}, headers=headers)

    return add_product


def made(shop: Shop) -> int:
    return shop.rows("SELECT count(*) FROM products")[0][0]


def meet(monkeypatch: pytest.MonkeyPatch, store: Callable[[Session, object], None]) -> None:
    """Both requests find no stored response, and both have created before one stores."""
    barrier = Barrier(2)

    def store_together(db: Session, created: object) -> None:
        barrier.wait(BARRIER_SECONDS)
        store(db, created)

    monkeypatch.setattr(products, "store_response", store_together)


def test_of_many_at_once_one_creates(add: Add, shop: Shop) -> None:
    answers = together(*[add] * 8)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.data for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert made(shop) == 1


def test_of_two_that_have_created_one_commits_and_the_other_repeats_it(
    add: Add, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet(monkeypatch, store_response)
    answers = together(add, add)
    assert sorted("Idempotency-Replayed" in answer.headers for answer in answers) == [False, True]
    assert len({answer.data for answer in answers}) == 1
    assert made(shop) == 1
    outcomes = shop.rows("SELECT outcome FROM admin_actions ORDER BY outcome")
    assert outcomes == [("done",), ("refused",)]


def test_without_the_stored_response_both_create(
    add: Add, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: it is the row that keeps the second one out."""
    meet(monkeypatch, lambda db, created: None)
    together(add, add)
    assert made(shop) == 2


def test_of_two_bodies_at_once_one_is_refused(
    add: Add, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet(monkeypatch, store_response)
    answers = together(lambda: add("Camera"), lambda: add("Lens"))
    assert sorted(answer.status_code for answer in answers) == [201, 422]
    assert made(shop) == 1


def test_the_second_creates_if_the_first_dies_before_its_commit(
    add: Add, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_stored = Event()

    def store_and_die(db: Session, created: object) -> None:
        if has_stored.is_set():
            store_response(db, created)
            return
        store_response(db, created)
        has_stored.set()
        wait_for_blocked(shop)
        raise Killed

    def die() -> None:
        with pytest.raises(Killed):
            add()

    def follow() -> TestResponse:
        assert has_stored.wait(BARRIER_SECONDS)
        return add()

    monkeypatch.setattr(products, "store_response", store_and_die)
    [answer] = of(TestResponse, together(die, follow))
    assert answer.status_code == 201
    assert "Idempotency-Replayed" not in answer.headers
    assert made(shop) == 1
