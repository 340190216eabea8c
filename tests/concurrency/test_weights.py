"""Recomputations at once: whatever their order, the cache ends with what PostgreSQL has."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

from core.members.weights import Weights
from core.redis import clock, keys
from core.sessions.sessions import SessionView
from tests.support.factories import Shop
from tests.support.racing import BARRIER_SECONDS, blocked, together


class PausedWeights(Weights):
    """Stops before it writes the cache."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop.services.database, shop.services.redis)
        self.has_computed, self.may_cache = Event(), Event()

    def _cache(self, weights: Sequence[Any]) -> None:
        self.has_computed.set()
        self.may_cache.wait(BARRIER_SECONDS)
        super()._cache(weights)


def closed_session(shop: Shop, bidder: Any) -> SessionView:
    session = shop.session()
    shop.bid(bidder, session, "120")
    shop.close(session)
    return session


def recompute(shop: Shop, weights: Weights, session: SessionView) -> int:
    return weights.recompute_bidders_of(session.session_id, clock.now(shop.services.redis))


def wait_for_end_or_lock(shop: Shop, running: Future[int]) -> None:
    while not running.done() and not blocked(shop):
        time.sleep(0.005)


def test_a_slow_recomputation_does_not_bring_older_weights_back(shop: Shop) -> None:
    bidder, slow = shop.bidder(), PausedWeights(shop)
    first = closed_session(shop, bidder)
    with ThreadPoolExecutor(2) as threads:
        older = threads.submit(recompute, shop, slow, first)
        slow.has_computed.wait(BARRIER_SECONDS)
        second = closed_session(shop, bidder)
        newer = threads.submit(recompute, shop, shop.services.weights, second)
        wait_for_end_or_lock(shop, newer)
        slow.may_cache.set()
        assert (older.result(), newer.result()) == (1, 1)
    [(weight,)] = shop.rows("SELECT weight FROM users")
    assert weight > 1.3
    assert float(shop.services.redis.get(keys.user_weight(bidder.user_id))) == weight


def test_recomputations_at_one_instant_do_not_stand_in_each_others_way(shop: Shop) -> None:
    bidders = [shop.bidder() for _ in range(20)]
    sessions = [shop.session() for _ in range(6)]
    for number, session in enumerate(sessions):
        for bidder in bidders if number % 2 else bidders[::-1]:
            shop.bid(bidder, session, "120")
        shop.close(session)
    outcomes = together(
        *[lambda own=own: recompute(shop, shop.services.weights, own) for own in sessions]
    )
    assert outcomes == [20] * 6
