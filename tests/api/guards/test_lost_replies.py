"""A bid whose reply is lost on its way is in doubt, and nobody sends it again but its member."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from core import bootstrap, errors
from core.redis import calls, keys, scripts
from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient, Connect
from tests.support.factories import Shop
from tests.support.http.lossy import LossyWay, lossy_way
from web import create_app

Happening = Callable[[Shop, SessionView], object]


@pytest.fixture
def way(shop: Shop) -> Iterator[LossyWay]:
    with lossy_way(shop.services.settings.redis_host, shop.services.settings.redis_port) as way:
        yield way


@pytest.fixture
def far(shop: Shop, way: LossyWay, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose bids go the lossy way."""
    monkeypatch.setattr(calls, "REDIS_TIMEOUT_SECONDS", 0.5)
    settings = replace(shop.services.settings, redis_host="127.0.0.1", redis_port=way.port)
    return Shop(bootstrap.bootstrap(settings))


def prices(shop: Shop, session: SessionView) -> list[str]:
    entries = shop.services.redis.xrange(keys.bid_log(session.session_id))
    return [fields["price"] for _, fields in entries]


@pytest.fixture
def far_member(far: Shop, member: CheckedClient, connect: Connect) -> CheckedClient:
    client = connect(create_app(services=far.services))
    client.environ_base |= member.environ_base
    return client


@pytest.mark.parametrize("breaks", [True, False], ids=["broken", "silent"])
@pytest.mark.parametrize(
    "happening",
    [
        lambda shop, session: shop.end(session),
        lambda shop, session: shop.services.sessions.deactivate(session.session_id),
    ],
    ids=["ended", "paused"],
)
def test_a_bid_that_was_placed_is_never_told_to_be_refused(
    shop: Shop, far_member: CheckedClient, way: LossyWay, happening: Happening, breaks: bool
) -> None:
    session = shop.session()
    bid = {"session_id": str(session.session_id), "price": 150}
    assert far_member.post("/api/bid", json=bid).status_code == 200

    way.lose_reply(scripts.place_bids.sha, lambda: happening(shop, session), breaks=breaks)
    answer = far_member.post("/api/bid", json={**bid, "price": 160})
    assert way.has_lost.is_set()
    assert (answer.status_code, answer.json["code"]) == (503, "outcome_unknown")
    assert prices(shop, session) == ["150.00", "160.00"]


@pytest.mark.parametrize("breaks", [True, False], ids=["broken", "silent"])
def test_a_bid_is_not_placed_over_a_newer_one_when_its_reply_is_lost(
    shop: Shop, far: Shop, way: LossyWay, breaks: bool
) -> None:
    session, bidder = shop.session(), shop.bidder()
    far.bid(bidder, session, 150)
    way.lose_reply(scripts.place_bids.sha, lambda: shop.bid(bidder, session, 170), breaks=breaks)
    with pytest.raises(errors.OutcomeUnknown):
        far.bid(bidder, session, 160)
    assert prices(shop, session) == ["150.00", "160.00", "170.00"]


def test_a_connection_that_died_idle_costs_no_bid(shop: Shop, far: Shop, way: LossyWay) -> None:
    session, bidder = shop.session(), shop.bidder()
    for price in (150, 160, 170):
        assert far.bid(bidder, session, price).price == price
        way.cut()
        # It was idle: the loop has turned since, and seen the end.
        far.services.runtime.loop.run(asyncio.sleep(0.1))
