"""Webhook endpoints as admins manage them."""

from typing import Any
from uuid import uuid4

import pytest

from core.postgres.models import ShopEvent
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop

ENDPOINTS = "/api/admin/webhook-endpoints"
NEW = {"url": "https://shop.example/hook?token=abc", "events": ["offer.opened"]}


@pytest.fixture
def made(admin: CheckedClient) -> dict[str, Any]:
    answer = admin.post(ENDPOINTS, json=NEW)
    assert answer.status_code == 201
    return dict(answer.json)


@pytest.fixture
def address(made: dict[str, Any]) -> str:
    return f"{ENDPOINTS}/{made['endpoint']['endpoint_id']}"


def test_a_secret_is_shown_when_it_is_made_and_never_again(
    admin: CheckedClient, made: dict[str, Any], address: str, shop: Shop
) -> None:
    rotated = admin.post(f"{address}/rotate-secret").json
    assert rotated["endpoint"]["previous_secret_until"] is not None
    assert len({made["secret"], rotated["secret"]}) == 2
    listed = admin.get(ENDPOINTS)
    assert [each["url"] for each in listed.json] == [NEW["url"]]
    changed = admin.patch(address, json={"paused": True})
    actions = shop.rows("SELECT details::text FROM admin_actions")
    for text in (listed.get_data(as_text=True), changed.get_data(as_text=True), str(actions)):
        assert made["secret"] not in text
        assert rotated["secret"] not in text


def test_a_secret_is_in_no_other_table(admin: CheckedClient, shop: Shop) -> None:
    """Also where answers are stored for a retry."""
    made = admin.post(ENDPOINTS, json=NEW, headers={"Idempotency-Key": "once"}).json
    names = shop.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = [
        table
        for (table,) in names
        if made["secret"] in str(shop.rows(f"SELECT t::text FROM {table} t"))  # noqa: S608
    ]
    assert found == ["webhook_endpoints"]


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"url": "https://other.example/"}, "url", "https://other.example/"),
        ({"events": ["bids.lost", "offer.paid"]}, "events", ["bids.lost", "offer.paid"]),
        ({"paused": True}, "state", "paused"),
        ({"paused": False}, "state", "enabled"),
    ],
)
def test_one_thing_is_changed_alone(
    admin: CheckedClient,
    made: dict[str, Any],
    address: str,
    change: dict[str, Any],
    field: str,
    value: Any,
) -> None:
    changed = admin.patch(address, json=change).json
    assert changed[field] == value
    kept = {name for name, was in made["endpoint"].items() if changed[name] == was}
    assert set(made["endpoint"]) - kept <= {field, "state_since"}


@pytest.mark.parametrize(
    "fault",
    [
        {"url": "http://shop.example/"},
        {"url": "https://user:password@shop.example/"},
        {"url": "ftp://shop.example/"},
        {"url": "/hook"},
        {"url": "https://shop.example/" + "x" * 2000},
        {"events": []},
        {"events": ["webhook.test"]},
        {"events": "offer.opened"},
    ],
)
def test_an_endpoint_that_cannot_be_served_is_refused(
    admin: CheckedClient, address: str, fault: dict[str, Any]
) -> None:
    [field] = fault
    for answer in (admin.post(ENDPOINTS, json=NEW | fault), admin.patch(address, json=fault)):
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
        assert list(answer.json["errors"]) == [field]


def test_a_test_and_a_replay_are_listed_by_endpoint_and_event(
    admin: CheckedClient, made: dict[str, Any], address: str, shop: Shop
) -> None:
    with shop.services.database.begin() as db:
        db.add(ShopEvent(event="offer.opened", subject_id=uuid4(), data={}))
    shop.services.webhooks.fan_out(seconds=30)
    tested = admin.post(f"{address}/test")
    assert (tested.status_code, tested.json["event"]) == (202, "webhook.test")
    other = admin.post(ENDPOINTS, json=NEW).json["endpoint"]["endpoint_id"]
    mine = made["endpoint"]["endpoint_id"]
    for query, count in (
        ("", 2),
        (f"endpoint_id={mine}", 2),
        (f"endpoint_id={other}", 0),
        ("event=offer.opened", 1),
        (f"endpoint_id={mine}&event=webhook.test&status=waiting", 1),
    ):
        listed = admin.get(f"/api/admin/webhook-deliveries?{query}")
        assert int(listed.headers["X-Total-Count"]) == count, query
    replayed = admin.post(f"/api/admin/webhook-deliveries/{tested.json['delivery_id']}/replay")
    assert (replayed.status_code, replayed.json["status"]) == (202, "waiting")


def test_a_deleted_endpoint_is_gone_with_its_deliveries(admin: CheckedClient, address: str) -> None:
    admin.post(f"{address}/test")
    assert admin.delete(address).status_code == 204
    assert admin.get(ENDPOINTS).json == admin.get("/api/admin/webhook-deliveries").json == []
    for answer in (
        admin.delete(address),
        admin.patch(address, json={}),
        admin.post(f"{address}/test"),
        admin.post(f"{address}/rotate-secret"),
    ):
        assert (answer.status_code, answer.json["code"]) == (404, "endpoint_not_found")
    unknown = admin.post(f"/api/admin/webhook-deliveries/{uuid4()}/replay")
    assert (unknown.status_code, unknown.json["code"]) == (404, "delivery_not_found")
