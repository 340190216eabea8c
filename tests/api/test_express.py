"""The express lane answers as Flask does: every kind of request goes both ways."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core import keys
from core.bootstrap import Services
from core.config import AccessLog as Choice
from core.sessions import SessionView
from tests.api.conftest import CheckedClient
from tests.api.test_service import app_without, closed_port
from tests.factories import Shop
from web import create_app
from web.access import AccessLog
from web.express import BID_PATH, BOARD_PREFIX, ExpressLane
from web.state import services_of

__all__ = ["closed_port"]

REQUEST_ID = {"X-Request-ID": "both-ways"}
JSON = "application/json"


def bid_of(session_id: UUID | str, price: Any) -> str:
    return json.dumps({"session_id": str(session_id), "price": price})


def without_lane(app: Flask) -> FlaskClient:
    """A client of the same application whose requests all go through Flask."""
    plain = create_app(services=services_of(app))
    plain.wsgi_app = Flask.wsgi_app.__get__(plain)  # type: ignore[method-assign]
    return plain.test_client()


def both_ways(member: CheckedClient, **request: Any) -> tuple[TestResponse, TestResponse]:
    request.setdefault("content_type", JSON)
    headers = {**REQUEST_ID, **request.pop("headers", {})}
    token = {"Authorization": member.environ_base["HTTP_AUTHORIZATION"]}
    clients = (member, without_lane(member.application))
    lane, flask = (
        client.post(BID_PATH, headers={**token, **headers}, **request) for client in clients
    )
    return lane, flask


def assert_same(lane: TestResponse, flask: TestResponse) -> None:
    assert (lane.status, lane.data) == (flask.status, flask.data)
    assert sorted(lane.headers) == sorted(flask.headers)


BODIES: dict[str, Callable[[UUID], str | bytes]] = {
    "replay": lambda own: bid_of(own, 150),
    "price below upset": lambda own: bid_of(own, 99.99),
    "unknown session": lambda own: bid_of(UUID(int=own.int ^ 1), 150),
    "no UUID": lambda own: bid_of("x", 150),
    "text for a price": lambda own: bid_of(own, "150"),
    "true for a price": lambda own: bid_of(own, True),
    "three decimals": lambda own: bid_of(own, 150.001),
    "huge price": lambda own: bid_of(own, 1e300),
    "NaN": lambda own: bid_of(own, float("nan")),
    "no price": lambda own: json.dumps({"session_id": str(own)}),
    "unknown field": lambda own: json.dumps({"session_id": str(own), "price": 150, "x": "\0"}),
    "a list": lambda own: "[]",
    "a number": lambda own: "1",
    "no JSON": lambda own: "{",
    "no UTF-8": lambda own: b"\xff{}",
    "nothing": lambda own: "",
    "deep nesting": lambda own: "[" * 60_000,
    "too large": lambda own: " " * (64 * 1024 + 1),
}


@pytest.mark.parametrize("body", BODIES)
def test_every_body_is_answered_alike(member: CheckedClient, shop: Shop, body: str) -> None:
    session = shop.session()
    member.post(BID_PATH, json={"session_id": str(session.session_id), "price": 150})
    before = shop.redis_state()
    assert_same(*both_ways(member, data=BODIES[body](session.session_id)))
    assert shop.redis_state() == before


@pytest.mark.parametrize(
    "content_type", [JSON, "application/json; charset=utf-8", "text/plain", "APPLICATION/JSON", ""]
)
def test_every_content_type_is_answered_alike(
    member: CheckedClient, shop: Shop, content_type: str
) -> None:
    session = shop.session()
    member.post(BID_PATH, json={"session_id": str(session.session_id), "price": 150})
    body = bid_of(session.session_id, 150)
    assert_same(*both_ways(member, data=body, content_type=content_type))


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic eDp5", "bearer x.y.z", "Bearer é"]
)
def test_every_authorization_is_answered_alike(
    member: CheckedClient, shop: Shop, authorization: str
) -> None:
    body = bid_of(shop.session().session_id, 150)
    headers = {"Authorization": authorization}
    lane, flask = both_ways(member, data=body, headers=headers)
    assert lane.status_code == 401
    assert_same(lane, flask)


def test_a_logged_out_token_is_answered_alike(member: CheckedClient, shop: Shop) -> None:
    member.post("/api/auth/logout")
    lane, flask = both_ways(member, data=bid_of(shop.session().session_id, 150))
    assert lane.json["code"] == "token_revoked"
    assert_same(lane, flask)


@pytest.mark.parametrize("state", ["paused", "ended", "not started"])
def test_a_shut_session_is_answered_alike(member: CheckedClient, shop: Shop, state: str) -> None:
    session = shop.session()
    change(shop, session, state)
    lane, flask = both_ways(member, data=bid_of(session.session_id, 150))
    assert lane.status_code == 409
    assert_same(lane, flask)


def change(shop: Shop, session: SessionView, state: str) -> None:
    params = f"session:params:{{{session.session_id}}}"
    if state == "paused":
        shop.services.sessions.deactivate(session.session_id)
    elif state == "ended":
        shop.end(session)
    else:
        shop.services.redis.hset(params, "start", str(2**53))
        shop.services.redis.hset(params, "end", str(2**53 + 1))


def test_a_bidder_who_is_too_fast_is_answered_alike(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    member.post(BID_PATH, json={"session_id": str(session.session_id), "price": 140})
    # As after many bids, and for longer than a slow machine takes for the next two.
    bucket = keys.standing_bid(session.session_id, member.account.user_id)
    shop.services.redis.hset(bucket, "tokens", -8)
    lane, flask = both_ways(member, data=bid_of(session.session_id, 150))
    assert (lane.status_code, lane.headers["Retry-After"]) == (429, "1")
    assert_same(lane, flask)


def test_an_outage_of_redis_is_answered_alike(
    member: CheckedClient, services: Services, closed_port: int
) -> None:
    app = app_without(services, closed_port, "redis")
    clients = (app.test_client(), without_lane(app))
    token = {"Authorization": member.environ_base["HTTP_AUTHORIZATION"]}
    lane, flask = (
        client.post(
            BID_PATH, data=bid_of(uuid4(), 150), content_type=JSON, headers=token | REQUEST_ID
        )
        for client in clients
    )
    assert (lane.status_code, lane.headers["Retry-After"]) == (503, "2")
    assert_same(lane, flask)


def test_an_error_that_nobody_foresaw_is_answered_alike(
    member: CheckedClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = bid_of(shop.session().session_id, 150)
    monkeypatch.setattr("core.bidding.Bidding.steps", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(member.document, "check", lambda *_: None)
    lane, flask = both_ways(member, data=body)
    assert lane.status_code == 500
    assert_same(lane, flask)


def test_an_accepted_bid_has_the_same_headers_and_fields(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    token = {"Authorization": member.environ_base["HTTP_AUTHORIZATION"]}
    clients = (member, without_lane(member.application))
    lane, flask = (
        client.post(
            BID_PATH,
            data=bid_of(session.session_id, price),
            content_type=JSON,
            headers=token | REQUEST_ID,
        )
        for client, price in zip(clients, (150, 160), strict=True)
    )
    assert (lane.json["sequence"], flask.json["sequence"]) == (1, 2)
    assert list(lane.json) == list(flask.json)
    assert {name for name, _ in lane.headers} == {name for name, _ in flask.headers}


@pytest.mark.parametrize(
    "origins", [("https://a.example",), ("https://a.example", "https://b.example"), ("*",)]
)
@pytest.mark.parametrize("origin", ["https://a.example", "https://evil.example", "null", ""])
def test_a_page_of_another_origin_is_answered_alike(
    member: CheckedClient, shop: Shop, origins: tuple[str, ...], origin: str
) -> None:
    settings = replace(shop.services.settings, cors_origins=origins)
    app = create_app(services=replace(shop.services, settings=settings))
    session = shop.session()
    headers = {
        "Authorization": member.environ_base["HTTP_AUTHORIZATION"],
        "Origin": origin,
        **REQUEST_ID,
    }
    member.post(BID_PATH, json={"session_id": str(session.session_id), "price": 150})
    body = bid_of(session.session_id, 150)
    lane, flask = (
        client.post(BID_PATH, data=body, content_type=JSON, headers=headers)
        for client in (app.test_client(), without_lane(app))
    )
    assert_same(lane, flask)
    is_let_in = origin in origins or (origins == ("*",) and bool(origin))
    assert ("Access-Control-Allow-Origin" in lane.headers) is is_let_in


def test_a_preflight_of_a_bid_is_answered(shop: Shop) -> None:
    settings = replace(shop.services.settings, cors_origins=("https://a.example",))
    app = create_app(services=replace(shop.services, settings=settings))
    headers = {
        "Origin": "https://a.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    answer = app.test_client().options(BID_PATH, headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert answer.headers["Access-Control-Max-Age"] == "7200"


def look_both_ways(member: CheckedClient, path: str) -> tuple[TestResponse, TestResponse]:
    clients = (member, without_lane(member.application))
    lane, flask = (client.get(path, headers=REQUEST_ID) for client in clients)
    return lane, flask


def assert_same_board(lane: TestResponse, flask: TestResponse) -> None:
    """Alike but for the moment at which each was read."""
    (lane_time, lane_board), (flask_time, flask_board) = (
        (board.pop("server_time"), board) for board in (lane.json, flask.json)
    )
    assert lane_time <= flask_time
    assert list(lane_board.items()) == list(flask_board.items())
    assert {name for name, _ in lane.headers} == {name for name, _ in flask.headers}


def test_the_first_page_of_a_board_is_answered_alike(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    path = f"{BOARD_PREFIX}{session.session_id}"
    assert_same_board(*look_both_ways(member, path))
    for price in (150, 160):
        shop.bid(shop.bidder(), session, str(price))
    assert_same_board(*look_both_ways(member, path))
    shop.close(session)
    assert_same_board(*look_both_ways(member, path))


@pytest.mark.parametrize("session_id", [str(UUID(int=7)), "x" * 36])
def test_a_board_that_is_none_is_answered_alike(member: CheckedClient, session_id: str) -> None:
    lane, flask = look_both_ways(member, BOARD_PREFIX + session_id)
    assert lane.json["code"] == "session_not_found"
    assert_same(lane, flask)


BID = {
    "PATH_INFO": BID_PATH,
    "REQUEST_METHOD": "POST",
    "CONTENT_TYPE": JSON,
    "CONTENT_LENGTH": "2",
}
LOOK = {"PATH_INFO": f"{BOARD_PREFIX}{UUID(int=7)}", "REQUEST_METHOD": "GET"}


@pytest.mark.parametrize(
    ("environ", "is_express"),
    [
        (BID, True),
        (BID | {"PATH_INFO": "/api/bid/"}, False),
        (BID | {"REQUEST_METHOD": "PUT"}, False),
        (BID | {"CONTENT_TYPE": "text/json"}, False),
        (BID | {"CONTENT_LENGTH": ""}, False),
        (BID | {"CONTENT_LENGTH": "-1"}, False),
        (BID | {"CONTENT_LENGTH": "\u0661"}, False),
        (BID | {"CONTENT_LENGTH": str(64 * 1024 + 1)}, False),
        (BID | {"HTTP_ORIGIN": "https://elsewhere.example"}, True),
        (BID | {"REQUEST_METHOD": "OPTIONS"}, False),
        (LOOK, True),
        (LOOK | {"REQUEST_METHOD": "HEAD"}, False),
        (LOOK | {"QUERY_STRING": "page=1"}, False),
        (LOOK | {"PATH_INFO": LOOK["PATH_INFO"] + "/me"}, False),
        (LOOK | {"CONTENT_LENGTH": "2"}, False),
        (LOOK | {"HTTP_TRANSFER_ENCODING": "chunked"}, False),
        (LOOK | {"HTTP_ORIGIN": "https://elsewhere.example"}, True),
    ],
)
def test_only_plain_requests_take_the_lane(
    app: Flask, environ: dict[str, str], is_express: bool
) -> None:
    assert (ExpressLane(app, AccessLog(Choice.OFF)).work_on(environ) is not None) is is_express
