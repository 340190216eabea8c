"""What a member is told of a bid that Redis could not take, or did not answer."""

import time
from dataclasses import replace
from itertools import count

import pytest
from werkzeug.test import TestResponse

from core import bootstrap
from core.bidlog import backlog
from core.redis import calls, keys
from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient, Connect
from tests.support.factories import Shop
from web import create_app

PAUSE_MS = 1500
PATIENCE_SECONDS = 30


def test_a_bid_that_was_sent_nowhere_was_not_accepted(
    member: CheckedClient, shop: Shop, connect: Connect
) -> None:
    """The server is down: nobody listens on its port."""
    bid = {"session_id": str(shop.session().session_id), "price": 150}
    settings = replace(shop.services.settings, redis_host="127.0.0.1", redis_port=1)
    client = connect(create_app(services=bootstrap.bootstrap(settings)))
    client.environ_base |= member.environ_base
    refused = client.post("/api/bid", json=bid)
    assert (refused.status_code, refused.json["code"]) == (503, "temporarily_unavailable")
    assert "not accepted" in refused.json["detail"]


def test_a_bid_whose_answer_is_lost_may_be_sent_again_and_counts_once(
    member: CheckedClient, shop: Shop, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = shop.session().session_id
    bid = {"session_id": str(session_id), "price": 150}
    monkeypatch.setattr(calls, "REDIS_TIMEOUT_SECONDS", 0.2)
    client = connect(create_app(services=bootstrap.bootstrap(shop.services.settings)))
    client.environ_base |= member.environ_base
    assert client.get("/health").status_code == 200
    shop.services.redis.execute_command("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
    unknown = client.post("/api/bid", json=bid)
    assert (unknown.status_code, unknown.json["code"]) == (503, "outcome_unknown")
    assert "same bid again" in unknown.json["detail"]
    assert int(unknown.headers["Retry-After"]) >= 1

    shop.services.redis.execute_command("CLIENT", "UNPAUSE")
    assert member.post("/api/bid", json=bid).json["sequence"] == 1
    assert shop.services.redis.xlen(keys.bid_log(session_id)) == 1


def test_a_full_backlog_is_told_and_shown(
    member: CheckedClient, shop: Shop, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LOOK_INTERVAL_SECONDS", 0.0)
    settings = replace(shop.services.settings, backlog_max_bids=2)
    client = connect(create_app(services=bootstrap.bootstrap(settings)))
    client.environ_base |= member.environ_base
    session = shop.session()
    seen = [client.get("/health").json["persist_backlog"]]
    for price in (150, 160):
        bid = {"session_id": str(session.session_id), "price": price}
        assert client.post("/api/bid", json=bid).status_code == 200
        seen.append(client.get("/health").json["persist_backlog"])
    assert seen == ["ok", "half_full", "full"]

    refused = bid_until(client, session, 503)
    assert refused.json["code"] == "backlog_full"
    assert int(refused.headers["Retry-After"]) >= 1
    assert client.get(f"/api/leaderboard/{session.session_id}").status_code == 200
    shop.drain(session)
    bid_until(client, session, 200)


def bid_until(client: CheckedClient, session: SessionView, status: int) -> TestResponse:
    """A bid looks at the backlog, and does not wait for what it finds."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    for price in count(170):
        bid = {"session_id": str(session.session_id), "price": price}
        if (answer := client.post("/api/bid", json=bid)).status_code == status:
            return answer
        assert time.monotonic() < give_up_at, answer.json
        time.sleep(0.02)
    raise AssertionError
