"""place_bids.lua: replays, drains that are due, and the rate limit."""

import pytest

from core import errors
from core.redis import clock
from tests.integration.bidding.placing import (
    BY_PRICE,
    call_all,
    limited,
    now_us,
    param,
    set_param,
    wait,
)
from tests.support.factories import Shop

# --- Replayed ------------------------------------------------------------------------


def test_a_repeated_bid_answers_the_standing_one_and_changes_nothing(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    first = shop.bid(bidder, session, "120")
    before = shop.redis_state()
    (_, drain_due), [again] = call_all(shop, session, [(bidder, "120.0")])
    assert again[0] == "replayed"
    assert drain_due == 0
    assert (int(again[1]), float(again[3])) == (first.sequence, first.score)
    assert shop.bid(bidder, session, "120").replayed
    assert shop.redis_state() == before


def test_a_replay_after_the_end_is_refused(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    shop.end(session)
    with pytest.raises(errors.SessionEnded):
        shop.bid(bidder, session, "120")


def test_a_replay_tells_the_rank_of_now(shop: Shop) -> None:
    session, bidder = shop.session(**BY_PRICE), shop.bidder()
    shop.bid(bidder, session, "120")
    shop.bid(shop.bidder(), session, "130")
    assert shop.bid(bidder, session, "120").rank == 2


# --- Drains --------------------------------------------------------------------------


def test_only_the_first_of_many_bids_schedules_a_drain(shop: Shop) -> None:
    session = shop.session()
    for _ in range(5):
        shop.bid(shop.bidder(), session, "120")
    assert shop.drains_scheduled == [session.session_id]


def test_a_drain_that_does_not_come_is_scheduled_again(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    set_param(shop, session, "drain_trusted_until", now_us(shop))
    shop.bid(shop.bidder(), session, "120")
    assert shop.drains_scheduled == [session.session_id] * 2


def test_a_mark_from_before_the_clock_was_set_back_is_not_trusted(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    an_hour_us = 3_600_000_000
    set_param(shop, session, "drain_trusted_until", now_us(shop) + an_hour_us)
    shop.bid(shop.bidder(), session, "120")
    shop.bid(shop.bidder(), session, "120")
    assert shop.drains_scheduled == [session.session_id] * 2


def test_a_scheduled_drain_is_trusted_for_five_seconds(shop: Shop) -> None:
    session = shop.session()
    placed = shop.bid(shop.bidder(), session, "120")
    trusted_until = int(param(shop, session, "drain_trusted_until") or 0)
    assert trusted_until == clock.to_microseconds(placed.accepted_at) + 5_000_000


# --- Rate limit ----------------------------------------------------------------------


def prices() -> list[str]:
    return [f"{price}.00" for price in range(120, 140)]


def test_a_member_may_place_a_burst_and_no_more(shop: Shop) -> None:
    bid, session, bidder = limited(shop, rate=0.001, burst=3), shop.session(beta=0.0), shop.bidder()
    for price in prices()[:3]:
        bid(bidder, session, price)
    with pytest.raises(errors.RateLimited):
        bid(bidder, session, "150")
    assert bid(shop.bidder(), session, "150").sequence == 4


def test_the_limit_holds_for_each_session_of_its_own(shop: Shop) -> None:
    bid, bidder = limited(shop, rate=0.001, burst=1), shop.bidder()
    bid(bidder, shop.session(), "120")
    assert bid(bidder, shop.session(), "120").sequence == 1


def test_a_refused_bid_costs_no_token(shop: Shop) -> None:
    bid, session, bidder = limited(shop, rate=0.001, burst=2), shop.session(), shop.bidder()
    bid(bidder, session, "120")
    for _ in range(5):
        with pytest.raises(errors.PriceBelowUpset):
            bid(bidder, session, "1")
    assert bid(bidder, session, "121").sequence == 2


def test_a_replay_costs_no_token_and_is_not_limited(shop: Shop) -> None:
    bid, session, bidder = limited(shop, rate=0.001, burst=2), shop.session(), shop.bidder()
    bid(bidder, session, "120")
    assert all(bid(bidder, session, "120").replayed for _ in range(5))
    bid(bidder, session, "121")
    assert bid(bidder, session, "121").replayed


def test_after_the_time_that_it_was_told_a_limited_member_may_bid(shop: Shop) -> None:
    bid, session, bidder = limited(shop, rate=0.1, burst=1), shop.session(), shop.bidder()
    bid(bidder, session, "120")
    with pytest.raises(errors.RateLimited) as refused:
        bid(bidder, session, "121")
    seconds = refused.value.retry_after_seconds
    assert 1 <= seconds <= 10
    wait(shop, bidder, session, seconds)
    assert bid(bidder, session, "121").sequence == 2


def test_a_bucket_refills_at_the_rate(shop: Shop) -> None:
    bid, session, bidder = limited(shop, rate=0.01, burst=5), shop.session(), shop.bidder()
    for price in prices()[:5]:
        bid(bidder, session, price)
    wait(shop, bidder, session, seconds=200)
    assert [bid(bidder, session, price).sequence for price in ("150", "151")] == [6, 7]
    with pytest.raises(errors.RateLimited):
        bid(bidder, session, "152")


def test_a_bucket_never_holds_more_than_the_burst(shop: Shop) -> None:
    bid, session, bidder = limited(shop, rate=0.01, burst=2), shop.session(), shop.bidder()
    bid(bidder, session, "120")
    wait(shop, bidder, session, seconds=1_000_000)
    bid(bidder, session, "121")
    bid(bidder, session, "122")
    with pytest.raises(errors.RateLimited):
        bid(bidder, session, "123")


def test_a_clock_that_is_set_back_refuses_nobody_what_time_has_refilled(shop: Shop) -> None:
    """Nobody knows for how long a bucket has filled that was last used in the future."""
    bid, session, bidder = limited(shop, rate=0.001, burst=2), shop.session(), shop.bidder()
    bid(bidder, session, "120")
    wait(shop, bidder, session, seconds=-3600)
    bid(bidder, session, "121")
    bid(bidder, session, "122")
    with pytest.raises(errors.RateLimited) as refused:
        bid(bidder, session, "123")
    assert refused.value.retry_after_seconds <= 1000


def test_a_rate_of_zero_switches_the_limit_off(shop: Shop) -> None:
    bid, session, bidder = limited(shop, rate=0, burst=1), shop.session(), shop.bidder()
    assert [bid(bidder, session, price).sequence for price in prices()] == list(range(1, 21))
