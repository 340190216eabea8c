"""What becomes of a call's bids when its reply is lost, unconfirmed or refused: one fate for all,
and nothing is sent twice.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from core import bootstrap, errors, outages
from core.bidding.placing import Bidder, PlacedBid
from core.bidlog.backlog import BacklogGuard
from core.bootstrap import Services
from core.config.redis import Replicas
from core.redis import calls, keys, scripts
from core.redis.calls import MAX_CONNECTIONS, key_of
from core.redis.connecting import create_calls
from core.runtime import EventLoop
from core.sessions.sessions import SessionView
from dev.embedded.server import wait_until
from tests.support.factories import Shop, bidding_like
from tests.support.http.lossy import LossyWay, lossy_way
from tests.support.racing import BARRIER_SECONDS

# There is no replica.
NOBODY_CONFIRMS = Replicas(1, timeout_ms=10)
UNREACHABLE_PORT = 1


@contextmanager
def services_by(services: Services, port: int) -> Iterator[Services]:
    """Services whose Redis is behind this port."""
    far = bootstrap.bootstrap(replace(services.settings, redis_host="127.0.0.1", redis_port=port))
    try:
        yield far
    finally:
        far.runtime.close()
        far.redis.close()
        far.engine.dispose()


@pytest.fixture
def way(services: Services) -> Iterator[LossyWay]:
    with lossy_way(services.settings.redis_host, services.settings.redis_port) as way:
        yield way


@pytest.fixture
def far(shop: Shop, way: LossyWay, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The shop, by a way that loses replies."""
    monkeypatch.setattr(calls, "REDIS_TIMEOUT_SECONDS", 0.5)
    with services_by(shop.services, way.port) as services:
        yield Shop(services)


@pytest.fixture
def run(shop: Shop) -> Callable[..., Any]:
    return shop.services.runtime.loop.run


def bids_of(shop: Shop, count: int = 5) -> list[tuple[Bidder, str]]:
    return [(bidder, "120.00") for bidder in shop.crowd(count)]


def logged(shop: Shop, session: SessionView) -> Counter[UUID]:
    """How often each member is in the log."""
    entries = shop.services.redis.xrange(keys.bid_log(session.session_id))
    return Counter(UUID(fields["user_id"]) for _, fields in entries)


def members(bids: list[tuple[Bidder, str]]) -> Counter[UUID]:
    return Counter(bidder.user_id for bidder, _ in bids)


def kinds(answers: list[Any]) -> set[type]:
    return {type(answer) for answer in answers}


# --- Bids ----------------------------------------------------------------------------


@pytest.mark.parametrize("breaks", [True, False], ids=["broken", "silent"])
def test_a_lost_reply_leaves_all_bids_of_its_call_in_doubt_and_sends_none_twice(
    shop: Shop, far: Shop, way: LossyWay, breaks: bool
) -> None:
    session, bids = shop.session(), bids_of(shop)
    far.bid(shop.bidder(), session, "110")
    way.lose_reply(scripts.place_bids.sha, lambda: None, breaks=breaks)
    answers = far.bid_at_once(session, bids)
    assert way.has_lost.is_set()
    assert kinds(answers) == {errors.OutcomeUnknown}
    first, *others = shop.services.redis.xrange(keys.bid_log(session.session_id))
    assert first[0] == "1-0"
    assert Counter(UUID(fields["user_id"]) for _, fields in others) == members(bids)

    again = far.bid_at_once(session, bids)
    assert all(isinstance(bid, PlacedBid) and bid.replayed for bid in again)


def test_bids_that_no_replica_confirms_are_in_doubt_and_placed_once(shop: Shop) -> None:
    session, bids = shop.session(), bids_of(shop)
    services = shop.services
    calls = create_calls(
        services.settings, services.redis, services.runtime, NOBODY_CONFIRMS, retries=0
    )
    bidding = bidding_like(services, calls=calls)
    assert kinds(shop.bid_at_once(session, bids, bidding)) == {errors.OutcomeUnknown}
    assert logged(shop, session) == members(bids)
    replays = shop.bid_at_once(session, bids, bidding)
    assert kinds(replays) == {errors.OutcomeUnknown}, "nor is a replay sure before that"
    assert all(bid.replayed for bid in shop.bid_at_once(session, bids))
    assert [type(failure) for failure in bidding.probe([UUID(int=0)])] == [errors.Unconfirmed]


def test_bids_that_reach_no_redis_were_not_taken(shop: Shop) -> None:
    session, bids = shop.session(), bids_of(shop)
    before = shop.redis_state()
    with services_by(shop.services, UNREACHABLE_PORT) as services:
        answers = Shop(services).bid_at_once(session, bids)
    assert kinds(answers) == {errors.BidNotTaken}
    assert shop.redis_state() == before


def test_bids_that_redis_refuses_to_write_were_not_taken(shop: Shop) -> None:
    session, bids = shop.session(), bids_of(shop)
    # One that does not look: it would refuse them first, and other tests' bids later.
    blind = BacklogGuard(shop.services.redis, max_bids=1)
    blind._look_at = inf
    before = shop.redis_state()
    shop.services.redis.config_set("maxmemory", 1)
    try:
        answers = shop.bid_at_once(session, bids, bidding_like(shop.services, backlog=blind))
    finally:
        shop.services.redis.config_set("maxmemory", 0)
    assert kinds(answers) == {errors.BidNotTaken}
    assert shop.redis_state() == before


def test_a_call_that_failed_holds_up_none_that_come_after_it(
    shop: Shop, far: Shop, way: LossyWay
) -> None:
    session, bids = shop.session(), bids_of(shop, 100)
    far.bid(shop.bidder(), session, "110")
    way.lose_reply(scripts.place_bids.sha, lambda: None, breaks=True)
    answers = far.bid_at_once(session, bids)
    assert kinds(answers[:64]) == {errors.OutcomeUnknown}
    assert kinds(answers[64:]) == {PlacedBid}
    assert members(bids) < logged(shop, session)
    assert set(logged(shop, session).values()) == {1}


# --- Calls as such -------------------------------------------------------------------


def test_a_call_that_no_replica_confirms_is_in_doubt(shop: Shop, run: Callable[..., Any]) -> None:
    services = shop.services
    calls = create_calls(
        services.settings, services.redis, services.runtime, NOBODY_CONFIRMS, retries=0
    )
    with pytest.raises(errors.Unconfirmed):
        run(calls.execute("INCR", "calls"))
    assert services.redis.get("calls") == "1"
    with pytest.raises(ResponseError):
        run(calls.execute("HGET", "calls", "field"))


def test_more_calls_than_connections_wait_for_one(shop: Shop, run: Callable[..., Any]) -> None:
    """One for each session that takes bids: redis-py itself refuses the hundred and first."""

    async def states() -> list[Any]:
        board = shop.services.board
        return await asyncio.gather(*[board.state(uuid4()) for _ in range(3 * MAX_CONNECTIONS)])

    assert run(states()) == [[None] * 5] * (3 * MAX_CONNECTIONS)
    asked = [each for each in shop.services.redis.client_list() if each["cmd"] == "hmget"]
    assert 1 < len(asked) <= MAX_CONNECTIONS


def test_a_reply_that_is_an_error_is_raised_with_and_without_replicas(
    shop: Shop, run: Callable[..., Any]
) -> None:
    services = shop.services
    for replicas in (None, NOBODY_CONFIRMS):
        calls = create_calls(
            services.settings, services.redis, services.runtime, replicas, retries=0
        )
        with pytest.raises(ResponseError, match="unknown command"):
            run(calls.execute("NONSENSE", "key"))


def test_a_call_to_a_slot_that_moves_asks_first_and_gives_its_own_reply(
    shop: Shop, run: Callable[..., Any]
) -> None:
    services = shop.services
    calls = create_calls(services.settings, services.redis, services.runtime, None, retries=0)
    services.redis.set("key", "value")
    before = services.redis.info("commandstats").get("cmdstat_asking", {"calls": 0})["calls"]
    assert run(calls.execute("GET", "key", asking=True)) == "value"
    assert services.redis.info("commandstats")["cmdstat_asking"]["calls"] == before + 1


def test_the_key_of_a_script_is_the_first_of_its_keys() -> None:
    assert key_of(("EVALSHA", "sha", 2, "first", "second", "argument")) == "first"
    assert key_of(("EVAL", "source", 1, "first")) == "first"
    assert key_of(("HMGET", "hash", "field")) == "hash"


def test_a_loop_that_ends_leaves_no_connection_open(shop: Shop) -> None:
    services, loop = shop.services, EventLoop()
    runtime = replace(services.runtime, loop=loop)
    calls = create_calls(services.settings, services.redis, runtime, None, retries=0)
    loop.run(calls.execute("CLIENT", "SETNAME", "to-be-closed"))

    def is_connected() -> bool:
        return any(client["name"] == "to-be-closed" for client in services.redis.client_list())

    assert is_connected()
    loop.close()
    assert wait_until(lambda: not is_connected(), BARRIER_SECONDS)
    assert loop.run(calls.execute("PING")) is True, "it begins anew when it is used again"
    loop.close()


def test_nothing_sent_is_told_from_a_reply_that_is_lost(shop: Shop) -> None:
    with services_by(shop.services, UNREACHABLE_PORT) as services:
        calls = create_calls(services.settings, services.redis, services.runtime, None, retries=0)
        with pytest.raises(outages.NothingSent) as unreachable:
            services.runtime.loop.run(calls.execute("INCR", "calls"))
    assert isinstance(unreachable.value, RedisConnectionError)
