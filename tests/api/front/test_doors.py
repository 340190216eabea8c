"""Bids and boards are answered alike by both doors: under an ASGI server and under a WSGI one."""

import codecs
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask

from core.bootstrap import Services
from core.redis import keys
from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient
from tests.api.routes.test_service import app_without, closed_port
from tests.support.factories import Shop
from tests.support.http.asgi import Door, opened
from tests.support.http.doors import JSON, Doors, assert_same, header, own_headers
from web import create_app
from web.http.access_log import BID_PATH
from web.lane import BOARD_PREFIX

__all__ = ["closed_port"]

SHOP = "https://a.example"


@pytest.fixture(scope="module")
def door(app: Flask) -> Iterator[Door]:
    with opened(app) as door:
        yield door


@pytest.fixture
def token(member: CheckedClient) -> str:
    return str(member.environ_base["HTTP_AUTHORIZATION"])


@pytest.fixture
def doors(app: Flask, door: Door, token: str) -> Doors:
    return Doors(app, door, token)


def bid_of(session_id: UUID | str, price: Any, **fields: Any) -> str:
    return json.dumps({"session_id": str(session_id), "price": price, **fields})


BODIES: dict[str, tuple[int, Callable[[UUID], str | bytes]]] = {
    "replay": (200, lambda own: bid_of(own, 150)),
    "replay that asks to be better": (200, lambda own: bid_of(own, 150, only_if_better=True)),
    "price below standing": (409, lambda own: bid_of(own, 149.99)),
    "text for a flag": (422, lambda own: bid_of(own, 160, only_if_better="true")),
    "a number for a flag": (422, lambda own: bid_of(own, 160, only_if_better=1)),
    "null for a flag": (422, lambda own: bid_of(own, 160, only_if_better=None)),
    "price below upset": (422, lambda own: bid_of(own, 99.99)),
    "unknown session": (404, lambda own: bid_of(UUID(int=own.int ^ 1), 150)),
    "no UUID": (422, lambda own: bid_of("x", 150)),
    "text for a price": (422, lambda own: bid_of(own, "150")),
    "true for a price": (422, lambda own: bid_of(own, True)),
    "three decimals": (422, lambda own: bid_of(own, 150.001)),
    "huge price": (422, lambda own: bid_of(own, 1e300)),
    "NaN": (400, lambda own: bid_of(own, float("nan"))),
    "no price": (422, lambda own: json.dumps({"session_id": str(own)})),
    "unknown field": (
        200,
        lambda own: json.dumps({"session_id": str(own), "price": 150, "x": "\0"}),
    ),
    "a list": (422, lambda own: "[]"),
    "a number": (422, lambda own: "1"),
    "no JSON": (400, lambda own: "{"),
    "no UTF-8": (400, lambda own: b"\xff{}"),
    "UTF-16": (400, lambda own: bid_of(own, 150).encode("utf-16")),
    "UTF-16 without a mark": (400, lambda own: bid_of(own, 150).encode("utf-16-le")),
    "UTF-32": (400, lambda own: bid_of(own, 150).encode("utf-32")),
    "Latin-1": (400, lambda own: f'{{"x": "é", {bid_of(own, 150)[1:]}'.encode("latin-1")),
    "a byte order mark": (200, lambda own: codecs.BOM_UTF8 + bid_of(own, 150).encode()),
    "two byte order marks": (400, lambda own: codecs.BOM_UTF8 * 2 + bid_of(own, 150).encode()),
    "a price twice": (400, lambda own: f'{{"price": 150, {bid_of(own, 150)[1:]}'),
    "a price twice, once escaped": (
        400,
        lambda own: f'{{"pric\\u0065": 150, {bid_of(own, 150)[1:]}',
    ),
    "an id twice": (400, lambda own: f'{{"session_id": "{own}", {bid_of(own, 150)[1:]}'),
    "an unknown field twice": (400, lambda own: f'{{"x": 1, "x": 1, {bid_of(own, 150)[1:]}'),
    "a field twice, deep below": (
        400,
        lambda own: f'{{"x": [{{"y": 1, "y": 2}}], {bid_of(own, 150)[1:]}',
    ),
    "nothing": (400, lambda own: ""),
    "deep nesting": (400, lambda own: "[" * 1024),
    "wide nesting": (422, lambda own: f"[{','.join(['[]'] * 340)}]"),
    "as large as may be": (200, lambda own: bid_of(own, 150).ljust(1024)),
    "too large": (413, lambda own: bid_of(own, 150).ljust(1025)),
    "deep and too large": (413, lambda own: "[" * 60_000),
    "wide and too large": (413, lambda own: f"[{','.join(['[]'] * 21_000)}]"),
    "far too large": (413, lambda own: " " * (1024 * 1024)),
}


@pytest.mark.parametrize("kind", BODIES)
def test_every_body_is_answered_alike(doors: Doors, shop: Shop, kind: str) -> None:
    session_id = shop.session().session_id
    assert_accepted(doors, session_id, 150)
    before = shop.redis_state()
    status, body = BODIES[kind]
    assert_same(doors.bid(body(session_id)), status)
    assert shop.redis_state() == before


def test_a_score_that_would_drop_is_answered_alike(doors: Doors, shop: Shop) -> None:
    session_id = shop.session(alpha=0.0, beta=0.0).session_id
    assert_accepted(doors, session_id, 150)
    answers = doors.bid(bid_of(session_id, 160, only_if_better=True))
    assert_same(answers, 409)
    refused = json.loads(answers[0].body)
    assert (refused["code"], refused["score"], refused["standing_score"]) == (
        "score_would_drop",
        2.0,
        2.0,
    )


def assert_accepted(doors: Doors, session_id: UUID, price: float) -> None:
    lane, flask = (json.loads(answer.body) for answer in doors.bid(bid_of(session_id, price)))
    assert (lane["status"], lane["replayed"], flask["replayed"]) == ("accepted", False, True)


def test_an_accepted_bid_has_the_same_headers_and_fields(doors: Doors, shop: Shop) -> None:
    """The lane takes the first bid; Flask's is a replay, with all the same fields."""
    lane, flask = doors.bid(bid_of(shop.session().session_id, 150))
    documents = [json.loads(answer.body) for answer in (lane, flask)]
    assert [document.pop("replayed") for document in documents] == [False, True]
    for document in documents:
        del document["message"]
    assert list(documents[0].items()) == list(documents[1].items())
    assert [name for name, _ in own_headers(lane)] == [name for name, _ in own_headers(flask)]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (JSON, 200),
        ("application/json; charset=utf-8", 200),
        ("application/problem+json", 200),
        ("APPLICATION/JSON", 200),
        ("text/plain", 415),
        ("", 415),
    ],
)
def test_every_content_type_is_answered_alike(
    doors: Doors, shop: Shop, content_type: str, status: int
) -> None:
    session_id = shop.session().session_id
    assert_accepted(doors, session_id, 150)
    assert_same(doors.bid(bid_of(session_id, 150), Content_Type=content_type), status)


@pytest.mark.parametrize(
    ("coding", "status"),
    [
        ("identity", 200),
        ("Identity", 200),
        (" ", 200),
        ("gzip", 415),
        ("GZIP", 415),
        ("br", 415),
        ("deflate, gzip", 415),
        ("identity, gzip", 415),
        ("aes128gcm", 415),
    ],
)
def test_every_content_encoding_is_answered_alike(
    doors: Doors, shop: Shop, coding: str, status: int
) -> None:
    session_id = shop.session().session_id
    assert_accepted(doors, session_id, 150)
    answers = doors.bid(bid_of(session_id, 150), Content_Encoding=coding)
    assert_same(answers, status)
    if status == 415:
        problem = json.loads(answers[0].body)
        assert problem["code"] == "unsupported_media_type"
        assert "Content-Encoding" in problem["detail"]
        assert header(answers[0], "accept-encoding") == "identity"


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer  ", "Basic eDp5", "bearer x.y.z", "Bearer é"]
)
def test_every_authorization_is_answered_alike(
    doors: Doors, shop: Shop, authorization: str
) -> None:
    body = bid_of(shop.session().session_id, 150)
    answers = doors.bid(body, Authorization=authorization)
    assert_same(answers, 401)
    assert header(answers[0], "www-authenticate") == "Bearer"


def test_a_logged_out_token_is_answered_alike(
    doors: Doors, member: CheckedClient, shop: Shop
) -> None:
    member.post("/api/auth/logout")
    answers = doors.bid(bid_of(shop.session().session_id, 150))
    assert json.loads(answers[0].body)["code"] == "token_revoked"
    assert_same(answers, 401)


@pytest.mark.parametrize("state", ["paused", "ended", "not started"])
def test_a_shut_session_is_answered_alike(doors: Doors, shop: Shop, state: str) -> None:
    session = shop.session()
    change(shop, session, state)
    assert_same(doors.bid(bid_of(session.session_id, 150)), 409)


def change(shop: Shop, session: SessionView, state: str) -> None:
    params = keys.session_params(session.session_id)
    if state == "paused":
        shop.services.sessions.deactivate(session.session_id)
    elif state == "ended":
        shop.end(session)
    else:
        shop.services.redis.hset(params, "start", str(2**53))
        shop.services.redis.hset(params, "end", str(2**53 + 1))


def test_a_bidder_who_is_too_fast_is_answered_alike(
    doors: Doors, member: CheckedClient, shop: Shop
) -> None:
    session_id = shop.session().session_id
    assert_accepted(doors, session_id, 140)
    # As after many bids, and for longer than a slow machine takes for the next two.
    bucket = keys.standing_bid(session_id, member.account.user_id)
    shop.services.redis.hset(bucket, "tokens", -8)
    answers = doors.bid(bid_of(session_id, 150))
    assert_same(answers, 429)
    assert header(answers[0], "retry-after") == "1"


def test_an_outage_of_redis_is_answered_alike(
    token: str, services: Services, closed_port: int
) -> None:
    app = app_without(services, closed_port, "redis")
    with opened(app) as door:
        doors = Doors(app, door, token)
        answers = doors.bid(bid_of(uuid4(), 150))
        boards = doors.ask("GET", f"{BOARD_PREFIX}{uuid4()}")
    assert_same(answers, 503)
    assert_same(boards, 503)
    assert header(answers[0], "retry-after") == header(boards[0], "retry-after") == "2"


def test_an_error_that_nobody_foresaw_is_answered_alike(
    doors: Doors, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.bidding.placing.Bidding.bid", lambda *_: 1 / 0)
    assert_same(doors.bid(bid_of(shop.session().session_id, 150)), 500)


@pytest.mark.parametrize("given", ["", "a b", "x" * 200, 'quo"te', "é"])
def test_a_request_id_that_is_absent_or_may_do_harm_is_replaced(doors: Doors, given: str) -> None:
    for answer in doors.bid("{", X_Request_ID=given):
        own = header(answer, "x-request-id")
        assert own == json.loads(answer.body)["request_id"] != given
        assert own.isalnum()


def test_a_request_id_that_is_harmless_is_kept(doors: Doors) -> None:
    for answer in doors.bid("{"):
        assert (
            header(answer, "x-request-id") == json.loads(answer.body)["request_id"] == "both-ways"
        )


@pytest.mark.parametrize("origins", [(SHOP,), (SHOP, "https://b.example"), ("*",), ()])
@pytest.mark.parametrize("origin", [SHOP, "https://evil.example", "null", ""])
def test_a_page_of_another_origin_is_answered_alike(
    token: str, shop: Shop, origins: tuple[str, ...], origin: str
) -> None:
    settings = replace(shop.services.settings, cors_origins=origins)
    app = create_app(services=replace(shop.services, settings=settings))
    is_let_in = bool(origin) and (origin in origins or origins == ("*",))
    with opened(app) as door:
        doors = Doors(app, door, token)
        for answers in (
            doors.bid("{", Origin=origin),
            doors.ask("GET", f"{BOARD_PREFIX}{uuid4()}", Origin=origin),
        ):
            assert_same(answers, answers[0].status)
            assert bool(header(answers[0], "access-control-allow-origin")) is is_let_in


def test_a_preflight_of_a_bid_is_answered(token: str, shop: Shop) -> None:
    settings = replace(shop.services.settings, cors_origins=(SHOP,))
    app = create_app(services=replace(shop.services, settings=settings))
    asked = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    with opened(app) as door:
        answers = Doors(app, door, token).ask("OPTIONS", BID_PATH, **asked)
    assert_same(answers, 200)
    headers = dict(answers[0].headers)
    assert headers["access-control-allow-origin"] == SHOP
    assert "POST" in headers["access-control-allow-methods"]
    assert headers["access-control-allow-headers"] == "authorization, content-type"
    assert headers["access-control-max-age"] == "7200"


QUERIES = ["", "?page=1", "?page=2&page_size=1", "?page_size=1&page=1&page=2"]


@pytest.mark.parametrize("state", ["empty", "with bids", "closed"])
@pytest.mark.parametrize("query", QUERIES)
def test_a_page_of_a_board_is_answered_alike(
    doors: Doors, shop: Shop, state: str, query: str
) -> None:
    session = shop.session()
    for price in () if state == "empty" else (150, 160, 170):
        shop.bid(shop.bidder(), session, str(price))
    if state == "closed":
        shop.close(session)
    lane, flask = doors.ask("GET", f"{BOARD_PREFIX}{session.session_id}{query}")
    assert lane.status == flask.status == 200
    boards = [json.loads(answer.body) for answer in (lane, flask)]
    # Alike but for the moment at which each was read.
    lane_time, flask_time = (board.pop("server_time") for board in boards)
    assert lane_time <= flask_time
    assert list(boards[0].items()) == list(boards[1].items())
    assert [name for name, _ in own_headers(lane)] == [name for name, _ in own_headers(flask)]


@pytest.mark.parametrize(
    "query", ["?page=0", "?page=x", "?page", "?page_size=1000000", "?page=%ff"]
)
def test_a_query_that_is_none_is_answered_alike(doors: Doors, shop: Shop, query: str) -> None:
    assert_same(doors.ask("GET", f"{BOARD_PREFIX}{shop.session().session_id}{query}"), 422)


@pytest.mark.parametrize("session_id", [str(UUID(int=7)), "x" * 36, "%78" * 36])
def test_a_board_that_is_none_is_answered_alike(doors: Doors, session_id: str) -> None:
    answers = doors.ask("GET", BOARD_PREFIX + session_id)
    assert json.loads(answers[0].body)["code"] == "session_not_found"
    assert_same(answers, 404)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", BID_PATH, 405),
        ("PUT", BID_PATH, 405),
        ("OPTIONS", BID_PATH, 200),
        ("POST", BID_PATH + "/", 400),
        ("POST", f"{BOARD_PREFIX}{UUID(int=7)}", 405),
        ("GET", f"{BOARD_PREFIX}{UUID(int=7)}/", 404),
        ("GET", f"{BOARD_PREFIX}x", 404),
        ("GET", "/API/bid", 404),
    ],
)
def test_what_is_no_bid_and_no_board_is_flask_s(
    doors: Doors, method: str, path: str, status: int
) -> None:
    assert_same(doors.ask(method, path), status)
