"""What is refused or not cached is limited in memory, alike by both doors, and waits alone."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from flask import Flask

from core.bidding.placing import Bidder
from core.bootstrap import Services
from tests.api.conftest import CheckedClient, Log
from tests.api.front.test_doors import (
    JSON,
    Doors,
    assert_same,
    bid_of,
    closed_port,
    door,
    header,
    token,
)
from tests.api.routes.test_service import app_without
from tests.support.factories import Shop
from tests.support.http.asgi import Answer, Door, opened
from tests.support.http.asgi import _ask as ask_door
from web import asgi, create_app
from web.http.access_log import BID_PATH
from web.lane import BOARD_PREFIX, lane_of
from web.state import services_of

__all__ = ["closed_port", "door", "token"]


@pytest.mark.parametrize("kind", ["replay", "price below upset", "no JSON", "too large", "ended"])
def test_a_member_of_many_refused_bids_is_answered_alike_and_leaves_no_trace(
    shop: Shop, services: Services, member: CheckedClient, log_in: Log, kind: str
) -> None:
    """One may be refused at once; then the member waits, and nobody else."""
    session = shop.session()
    body = bid_of(session.session_id, 150)
    shop.bid(as_bidder(member), session, "150")
    if kind == "ended":
        shop.end(session)
    else:
        body = {
            "price below upset": bid_of(session.session_id, 99),
            "no JSON": "{",
            "too large": " " * 2000,
        }.get(kind, body)
    limits = replace(services.settings.limits, refused_bids_per_minute=1)
    app = create_app(services=replace(services, settings=replace(services.settings, limits=limits)))
    before = shop.redis_state()
    with opened(app) as door:
        doors = Doors(app, door, str(member.environ_base["HTTP_AUTHORIZATION"]))
        assert [answer.status == 429 for answer in doors.bid(body)] == [False, True]
        last = doors.bid(bid_of(session.session_id, 160))
        assert_same(last, 429)
        assert json.loads(last[0].body)["code"] == "rate_limited"
        assert 1 <= int(header(last[0], "retry-after")) <= 60
        assert shop.redis_state() == before
        other = Doors(app, door, str(log_in("eve").environ_base["HTTP_AUTHORIZATION"]))
        assert other.bid(bid_of(session.session_id, 170))[0].status != 429


def as_bidder(client: CheckedClient) -> Bidder:
    return Bidder(client.account.user_id, client.account.username, "a-token")


def test_bids_that_are_accepted_use_up_nothing(
    shop: Shop, services: Services, member: CheckedClient
) -> None:
    session = shop.session()
    limits = replace(services.settings.limits, refused_bids_per_minute=1)  # one at once
    app = create_app(services=replace(services, settings=replace(services.settings, limits=limits)))
    with opened(app) as door:
        token = str(member.environ_base["HTTP_AUTHORIZATION"])
        for price in range(150, 160):
            sent = {"Authorization": token, "Content-Type": JSON}
            body = bid_of(session.session_id, price).encode()
            assert door.ask("POST", BID_PATH, body, sent).status == 200
        assert len(lane_of(app)._refused_bids) == 0


def test_an_outage_uses_up_nothing(token: str, services: Services, closed_port: int) -> None:
    limits = replace(services.settings.limits, refused_bids_per_minute=1)
    limited = replace(services, settings=replace(services.settings, limits=limits))
    app = app_without(limited, closed_port, "redis")
    with opened(app) as door:
        doors = Doors(app, door, token)
        for _ in range(3):
            assert_same(doors.bid(bid_of(uuid4(), 150)), 503)


@pytest.mark.parametrize("state", ["with bids", "closed", "unknown"])
def test_later_pages_of_a_board_that_are_not_cached_are_limited_alike(
    shop: Shop, services: Services, token: str, state: str
) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    if state == "closed":
        shop.close(session)
    limits = replace(services.settings.limits, uncached_pages_per_minute=1)
    settings = replace(services.settings, limits=limits, trusted_proxies=1)
    app = create_app(services=replace(services, settings=settings))

    def addresses() -> Iterator[str]:
        for page in range(2, 100):
            is_unknown = state == "unknown"
            yield BOARD_PREFIX + (
                str(uuid4()) if is_unknown else f"{session.session_id}?page={page}"
            )

    with opened(app) as door:
        doors, some = Doors(app, door, token), addresses()
        first, _ = doors.ask("GET", next(some), X_Forwarded_For="192.0.2.1")
        assert first.status == (404 if state == "unknown" else 200)
        refused = doors.ask("GET", next(some), X_Forwarded_For="10.0.0.1, 192.0.2.1")
        assert_same(refused, 429)
        assert json.loads(refused[0].body)["code"] == "rate_limited"
        assert int(header(refused[0], "retry-after")) >= 1
        first_page = f"{BOARD_PREFIX}{session.session_id}?page_size=7"
        assert doors.ask("GET", first_page, X_Forwarded_For="192.0.2.1")[0].status == 200
        elsewhere = doors.ask("GET", next(some), X_Forwarded_For="192.0.2.1, 192.0.2.9")
        assert elsewhere[0].status != 429


@pytest.mark.parametrize("size", [1025, 70_000])
def test_a_client_waits_for_its_refusal_and_nobody_waits_with_it(
    app: Flask, door: Door, token: str, shop: Shop, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(asgi, "REFUSAL_DELAY_SECONDS", 3600)
    session_id = shop.session().session_id
    sent = {"Authorization": token, "Content-Type": JSON}
    loop = services_of(app).runtime.loop

    async def ask(body: bytes) -> Answer:
        return await ask_door(door._application, "POST", BID_PATH, body, sent)

    async def ask_all() -> tuple[bool, list[int]]:
        refused = asyncio.create_task(ask(b" " * size))
        answers = [await ask(b"{") for _ in range(3)]
        answers.append(await ask(bid_of(session_id, 150).encode()))
        is_waiting = not refused.done()
        refused.cancel()
        return is_waiting, [answer.status for answer in answers]

    assert loop.run(ask_all()) == (True, [400, 400, 400, 200])
