"""place_bids.lua: a bid binds, and a bidder may ask to be kept from harm."""

from decimal import Decimal

import pytest

from core import errors
from core.bidding.placing import Bidder
from core.redis import clock, keys
from core.rules.scoring import Coefficients, score
from core.sessions.sessions import SessionView
from tests.integration.bidding.placing import (
    BY_PRICE,
    call,
    call_all,
    end_in_time,
    limited,
    lose_session,
    param,
    pause,
    set_param,
    wait,
)
from tests.support.commands import commands_of
from tests.support.factories import Shop

HOUR_US = 3_600_000_000
LOWERABLE = {"allow_lower_bids": True}


def highest(shop: Shop, session: SessionView) -> Decimal | None:
    board = shop.services.board.page(session.session_id, page=1, page_size=1)
    return board.highest_bid


def let_an_hour_pass(shop: Shop, session: SessionView) -> None:
    """What moves is the start, which is the same to the score."""
    start = clock.to_microseconds(session.start_time) - HOUR_US
    shop.move_start(session, clock.from_microseconds(start))


# --- A price can only be raised ------------------------------------------------------


@pytest.mark.parametrize("price", ["129.99", "100", "100.01", "129"])
def test_a_price_below_the_standing_one_is_refused(shop: Shop, price: str) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "130")
    before = shop.redis_state()
    with pytest.raises(errors.PriceBelowStanding) as refused:
        shop.bid(bidder, session, price)
    assert refused.value.standing_price == Decimal("130.00")
    assert refused.value.extra == {"standing_price": 130.0}
    assert shop.redis_state() == before


def test_the_highest_price_cannot_be_taken_back_in_the_last_second(shop: Shop) -> None:
    """Shielding: scare all others off, and pay little."""
    session, shield = shop.session(inventory=1, **BY_PRICE), shop.bidder()
    shop.bid(shield, session, "9999999999.99")
    with pytest.raises(errors.PriceBelowStanding):
        shop.bid(shield, session, "100.01")
    assert shop.close(session)
    results = shop.services.results.get(session.session_id, page=1, page_size=1)
    assert results.final_price == Decimal("9999999999.99")


def test_each_member_is_bound_by_the_own_price_alone(shop: Shop) -> None:
    session = shop.session(**BY_PRICE)
    high, low = shop.bidder(), shop.bidder()
    shop.bid(high, session, "300")
    shop.bid(low, session, "120")
    assert shop.bid(low, session, "121").rank == 2


def test_a_price_binds_in_its_session_alone(shop: Shop) -> None:
    bidder = shop.bidder()
    shop.bid(bidder, shop.session(), "300")
    assert shop.bid(bidder, shop.session(), "120").rank == 1


def test_a_bound_bidder_may_still_repeat_the_standing_price(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    placed = shop.bid(bidder, session, "130")
    with pytest.raises(errors.PriceBelowStanding):
        shop.bid(bidder, session, "120")
    assert shop.bid(bidder, session, "130").replayed
    assert shop.bid(bidder, session, "130").sequence == placed.sequence


def test_the_starting_price_is_named_before_the_standing_one(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "130")
    with pytest.raises(errors.PriceBelowUpset):
        shop.bid(bidder, session, "99.99")


@pytest.mark.parametrize(
    ("prepare", "reply"),
    [
        (end_in_time, "session_ended"),
        (pause, "session_inactive"),
        (lose_session, "unknown_session"),
    ],
)
def test_the_window_is_named_before_the_standing_price(
    shop: Shop, prepare: object, reply: str
) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "130")
    prepare(shop, bidder, session)
    assert call(shop, bidder, session, "120") == [reply]


def test_a_binding_price_is_named_before_the_rate_limit(shop: Shop) -> None:
    bid, session, bidder = limited(shop, rate=0.001, burst=1), shop.session(), shop.bidder()
    bid(bidder, session, "130")
    with pytest.raises(errors.PriceBelowStanding):
        bid(bidder, session, "120")
    with pytest.raises(errors.RateLimited):
        bid(bidder, session, "140")


def test_a_remnant_that_is_not_ranked_binds_nobody(shop: Shop) -> None:
    session, (bidder, other) = shop.session(**BY_PRICE), shop.crowd(2)
    call(shop, bidder, session, "120")
    shop.services.redis.delete(keys.ranking(session.session_id))
    call(shop, other, session, "110")
    assert call(shop, bidder, session, "105")[0] == "accepted"


def test_a_loaded_bid_binds_as_before(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    shop.drain(session)
    shop.services.redis.flushdb()
    with pytest.raises(errors.PriceBelowStanding):
        shop.bid(bidder, session, "119.99")
    assert shop.bid(bidder, session, "120").replayed


def test_good_bids_are_taken_beside_refused_ones(shop: Shop) -> None:
    session, (bound, careful, free) = shop.session(), shop.crowd(3)
    call_all(shop, session, [(bound, "130"), (careful, "130")])
    let_an_hour_pass(shop, session)
    bids = [(bound, "120"), (careful, "140", True), (free, "110")]
    _, replies = call_all(shop, session, bids)
    assert [reply[0] for reply in replies] == [
        "price_below_standing",
        "score_would_drop",
        "accepted",
    ]
    assert replies[0][1] == "130"
    assert replies[2][1] == "3"


# --- Only if better ------------------------------------------------------------------


def test_a_raise_that_would_score_less_is_refused_when_asked(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    standing = shop.bid(bidder, session, "130")
    let_an_hour_pass(shop, session)
    before = shop.redis_state()
    with pytest.raises(errors.ScoreWouldDrop) as refused:
        shop.bid(bidder, session, "400", only_if_better=True)
    assert refused.value.standing_score == standing.score
    assert refused.value.score < standing.score
    terms = Coefficients(session.alpha, session.beta, session.gamma)
    assert refused.value.score <= score(terms, Decimal(400), 3600.0, 1.0)
    assert shop.redis_state() == before


def test_the_same_raise_is_taken_when_nobody_asks(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    standing = shop.bid(bidder, session, "130")
    let_an_hour_pass(shop, session)
    assert shop.bid(bidder, session, "400").score < standing.score


def test_a_raise_that_scores_more_is_taken(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    standing = shop.bid(bidder, session, "130")
    let_an_hour_pass(shop, session)
    assert shop.bid(bidder, session, "9000", only_if_better=True).score > standing.score


def test_an_equal_score_is_not_better(shop: Shop) -> None:
    """It would rank behind all who have the same score already."""
    session = shop.session(alpha=0.0, beta=0.0, gamma=2.0)
    bidder, other = shop.bidder(), shop.bidder()
    shop.bid(bidder, session, "130")
    shop.bid(other, session, "130")
    with pytest.raises(errors.ScoreWouldDrop):
        shop.bid(bidder, session, "140", only_if_better=True)
    assert shop.bid(bidder, session, "140").rank == 2


def test_a_first_bid_is_always_better(shop: Shop) -> None:
    session = shop.session(alpha=0.0, beta=0.0, gamma=0.0)
    assert shop.bid(shop.bidder(), session, "100", only_if_better=True).score == 0.0


def test_a_repeated_bid_stays_a_replay_though_its_score_would_drop(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "130", only_if_better=True)
    let_an_hour_pass(shop, session)
    assert shop.bid(bidder, session, "130", only_if_better=True).replayed


def test_a_drop_is_named_before_the_rate_limit_and_costs_no_token(shop: Shop) -> None:
    bid, session, bidder = limited(shop, rate=0.001, burst=2), shop.session(), shop.bidder()
    bid(bidder, session, "130")
    let_an_hour_pass(shop, session)
    for _ in range(5):
        with pytest.raises(errors.ScoreWouldDrop):
            bid(bidder, session, "131", only_if_better=True)
    assert bid(bidder, session, "131").sequence == 2
    with pytest.raises(errors.RateLimited):
        bid(bidder, session, "9000", only_if_better=True)


def test_a_drop_is_judged_with_the_weight_of_the_first_bid(shop: Shop) -> None:
    session, bidder = shop.session(alpha=1.0, beta=0.0, gamma=10.0), shop.bidder()
    first = shop.bid(bidder, session, "130")
    shop.services.redis.set(keys.user_weight(bidder.user_id), "5.0")
    assert shop.bid(bidder, session, "130.01", only_if_better=True).score == first.score + 0.01


def test_a_remnant_that_is_not_ranked_is_nothing_to_be_better_than(shop: Shop) -> None:
    session, (bidder, other) = shop.session(), shop.crowd(2)
    call(shop, bidder, session, "120")
    shop.services.redis.delete(keys.ranking(session.session_id))
    call(shop, other, session, "110")
    let_an_hour_pass(shop, session)
    _, [reply] = call_all(shop, session, [(bidder, "121", True)])
    assert reply[0] == "accepted"


def test_a_lower_price_that_is_allowed_may_be_refused_for_its_score(shop: Shop) -> None:
    session, bidder = shop.session(**BY_PRICE, **LOWERABLE), shop.bidder()
    shop.bid(bidder, session, "130")
    with pytest.raises(errors.ScoreWouldDrop):
        shop.bid(bidder, session, "120", only_if_better=True)
    assert shop.bid(bidder, session, "120").score == 120.0


# --- The highest price that stands ---------------------------------------------------


def test_where_prices_may_fall_the_highest_bid_is_the_highest_that_stands(shop: Shop) -> None:
    session, first, second = shop.session(**LOWERABLE), shop.bidder(), shop.bidder()
    seen = []
    for bidder, price in [
        (first, "150.50"),
        (second, "120"),
        (first, "9999999999.99"),
        (first, "100"),
        (second, "100.10"),
        (second, "100.01"),
        (first, "100.02"),
    ]:
        shop.bid(bidder, session, price)
        seen.append(str(highest(shop, session)))
    assert seen == ["150.50", "150.50", "9999999999.99", "120.00", "100.10", "100.01", "100.02"]
    assert shop.services.redis.zcard(keys.standing_prices(session.session_id)) == 2


def test_of_several_bids_in_one_call_all_count(shop: Shop) -> None:
    session, bidders = shop.session(**LOWERABLE), shop.crowd(3)
    call_all(shop, session, list(zip(bidders, ["300", "200", "100"], strict=True)))
    assert highest(shop, session) == 300
    call_all(shop, session, list(zip(bidders, ["100", "150", "120"], strict=True)))
    assert highest(shop, session) == 150


@pytest.mark.parametrize(
    "price", ["0.01", "0.07", "0.29", "1.10", "4.35", "1000.05", "8589934592.37"]
)
def test_the_highest_bid_is_exact_to_the_cent(shop: Shop, price: str) -> None:
    session = shop.session(upset_price=Decimal("0.01"), **LOWERABLE)
    shop.bid(shop.bidder(), session, price)
    assert highest(shop, session) == Decimal(price)


def test_a_session_that_binds_tracks_no_prices(shop: Shop) -> None:
    """What only sessions with falling prices need costs the others nothing."""
    session, [bidder] = shop.session(), shop.crowd(1)
    call(shop, bidder, session, "130")
    assert param(shop, session, "highest_bid") == "130"
    assert not shop.services.redis.exists(keys.standing_prices(session.session_id))
    # The script alone, without the service, which looks at the backlog now and then.
    assert commands_of(shop, lambda: call(shop, bidder, session, "131")) == {
        "zmscore": 1,
        "hmget": 2,
        "time": 1,
        "xadd": 1,
        "hset": 2,
        "zadd": 1,
        "zrem": 1,
        "zcount": 1,
    }


def test_tracked_prices_are_loaded_as_they_were(shop: Shop) -> None:
    session, bidders = shop.session(**LOWERABLE), [shop.bidder() for _ in range(3)]
    for bidder, price in zip(bidders, ("300", "200.25", "100"), strict=True):
        shop.bid(bidder, session, price)
    shop.bid(bidders[0], session, "150")
    prices = keys.standing_prices(session.session_id)
    before = shop.services.redis.zrange(prices, 0, -1, withscores=True)
    shop.drain(session)
    shop.services.redis.flushdb()
    assert highest(shop, session) == Decimal("200.25")
    assert shop.services.redis.zrange(prices, 0, -1, withscores=True) == before
    shop.bid(bidders[1], session, "120")
    assert highest(shop, session) == 150


def test_a_rebuilt_session_forgets_prices_of_bids_that_postgresql_never_had(shop: Shop) -> None:
    session, bidder = shop.session(**LOWERABLE), shop.bidder()
    shop.bid(bidder, session, "150")
    shop.services.redis.zadd(keys.standing_prices(session.session_id), {"nobody": 999})
    shop.services.loader.rebuild(session.session_id)
    assert highest(shop, session) == 150
    assert param(shop, session, "highest_bid") == "150.00"
    shop.bid(bidder, session, "140")
    assert highest(shop, session) == 140


def test_a_loaded_session_shows_the_highest_price_that_stands(shop: Shop) -> None:
    """Also one whose prices fell under a version that did not track them."""
    session, bidder = shop.session(**LOWERABLE), shop.bidder()
    shop.bid(bidder, session, "150")
    shop.bid(bidder, session, "120")
    set_param(shop, session, "highest_bid", "150.00")
    shop.services.loader.rebuild(session.session_id)
    assert highest(shop, session) == 120


def test_a_session_loaded_by_the_version_before_goes_on_by_its_rules(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    params = keys.session_params(session.session_id)
    shop.services.redis.hdel(params, "allow_lower_bids")
    shop.bid(bidder, session, "150")
    assert shop.bid(bidder, session, "120").sequence == 2
    assert highest(shop, session) == 150
    assert not shop.services.redis.exists(keys.standing_prices(session.session_id))


def test_the_final_highest_bid_is_one_that_stands(shop: Shop) -> None:
    session, bidder = shop.session(**LOWERABLE), shop.bidder()
    shop.bid(bidder, session, "9999999999.99")
    shop.bid(bidder, session, "120")
    shop.bid(shop.bidder(), session, "130")
    shop.close(session)
    assert highest(shop, session) == 130


def test_a_bid_that_finds_its_prices_gone_elsewhere_changes_nothing(shop: Shop) -> None:
    """As while a cluster's slot moves key by key; here a key of another type stands for it."""
    session, bidder = shop.session(**LOWERABLE), shop.bidder()
    shop.bid(bidder, session, "150")
    prices = keys.standing_prices(session.session_id)
    shop.services.redis.set(prices, "elsewhere")
    before = shop.redis_state()
    with pytest.raises(errors.BidNotTaken):
        shop.bid(bidder, session, "120")
    assert shop.redis_state() == before


def test_a_lowered_price_needs_a_token_like_any_bid(shop: Shop) -> None:
    bid, bidder = limited(shop, rate=0.001, burst=2), shop.bidder()
    session = shop.session(**LOWERABLE)
    for price in ("150", "140"):
        bid(bidder, session, price)
    with pytest.raises(errors.RateLimited):
        bid(bidder, session, "130")
    wait(shop, bidder, session, 1000)
    assert bid(bidder, session, "130").sequence == 3


def test_equal_prices_of_several_members_each_stand(shop: Shop) -> None:
    session, bidders = shop.session(**LOWERABLE), [shop.bidder() for _ in range(2)]
    for bidder in bidders:
        shop.bid(bidder, session, "150")
    lower_by_one(shop, session, bidders[0], 150)
    assert highest(shop, session) == 150
    lower_by_one(shop, session, bidders[1], 150)
    assert highest(shop, session) == 149


def lower_by_one(shop: Shop, session: SessionView, bidder: Bidder, price: int) -> None:
    shop.bid(bidder, session, str(price - 1))
