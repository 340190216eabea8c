"""place_bid.lua: every outcome, the order of the board, the rate limit."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from core import clock, errors, keys, scripts
from core.bid_log import DRAIN_TRUST_US
from core.bidding import Bidder, Bidding, PlacedBid
from core.scoring import Coefficients, score
from core.sessions import SessionView
from tests.factories import Shop

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}
HOUR_US = 3_600_000_000


def call(
    shop: Shop,
    bidder: Bidder,
    session: SessionView,
    price: str = "120.00",
    *,
    weight: str = "",
    limits: tuple[float, int] = (0, 1),
) -> list[Any]:
    """The script's own reply, without the service that heals what Redis lost."""
    session_id = session.session_id
    return scripts.place_bid(
        shop.services.redis,
        [
            keys.session_params(session_id),
            keys.ranking(session_id),
            keys.standing_bid(session_id, bidder.user_id),
            keys.bid_log(session_id),
            keys.REVOKED_TOKENS,
            keys.user_weight(bidder.user_id),
        ],
        [
            str(bidder.user_id),
            bidder.username,
            price,
            bidder.token_id,
            weight,
            *limits,
            DRAIN_TRUST_US,
        ],
    )


def limited(shop: Shop, rate: float, burst: int) -> Callable[..., PlacedBid]:
    """Places bids under a rate limit of the test's own."""
    like = shop.services.bidding
    bidding = Bidding(
        shop.services.redis,
        like._loader,
        like._weights,
        like._revocations,
        like._backlog,
        bids_per_second=rate,
        burst=burst,
    )

    def bid(bidder: Bidder, session: SessionView, price: str) -> PlacedBid:
        return bidding.place(
            bidder,
            session.session_id,
            Decimal(price),
            schedule_drain=shop.drains_scheduled.append,
        )

    return bid


def param(shop: Shop, session: SessionView, field: str) -> str | None:
    return shop.services.redis.hget(keys.session_params(session.session_id), field)


def set_param(shop: Shop, session: SessionView, field: str, value: str | int) -> None:
    shop.services.redis.hset(keys.session_params(session.session_id), field, value)


def now_us(shop: Shop) -> int:
    return clock.to_microseconds(clock.now(shop.services.redis))


def wait(shop: Shop, bidder: Bidder, session: SessionView, seconds: float) -> None:
    """Let the bidder's bucket refill for so long, without waiting."""
    name = keys.standing_bid(session.session_id, bidder.user_id)
    shop.services.redis.hincrby(name, "tokens_at", -round(seconds * 1_000_000))


# --- Refusals ------------------------------------------------------------------------


def lose_revocations(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.redis.delete(keys.REVOKED_TOKENS)


def revoke_token(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.revocations.revoke(bidder.token_id, session.end_time)


def lose_session(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.redis.delete(keys.session_params(session.session_id))


def end_in_time(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.end(session)


def end_early(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.sessions.end_now(session.session_id)


def pause(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.sessions.deactivate(session.session_id)


def start_later(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    set_param(shop, session, "start", now_us(shop) + HOUR_US)


def raise_upset_price(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    set_param(shop, session, "upset_price", "120.01")


def lose_weight(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.redis.delete(keys.user_weight(bidder.user_id))


@pytest.mark.parametrize(
    ("prepare", "reply"),
    [
        (lose_revocations, ["unknown_revocations"]),
        (revoke_token, ["token_revoked"]),
        (lose_session, ["unknown_session"]),
        (end_in_time, ["session_ended"]),
        (end_early, ["session_ended"]),
        (pause, ["session_inactive"]),
        (start_later, ["session_not_started"]),
        (raise_upset_price, ["price_below_upset", "120.01"]),
        (lose_weight, ["unknown_weight"]),
    ],
)
def test_a_refused_bid_leaves_every_key_as_it_was(
    shop: Shop, prepare: Callable[..., None], reply: list[str]
) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(shop.bidder(), session, "130")
    prepare(shop, bidder, session)
    before = shop.redis_state()

    assert call(shop, bidder, session) == reply
    assert shop.redis_state() == before


def test_a_rate_limited_bid_leaves_every_key_as_it_was(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "130")
    hungry = (0.001, 1)
    call(shop, bidder, session, "140", limits=hungry)
    before = shop.redis_state()

    outcome, seconds = call(shop, bidder, session, "150", limits=hungry)
    assert outcome == "rate_limited"
    assert 0 < float(seconds) <= 1000
    assert shop.redis_state() == before


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        (revoke_token, errors.TokenRevoked),
        (end_in_time, errors.SessionEnded),
        (pause, errors.SessionInactive),
        (start_later, errors.SessionNotStarted),
        (raise_upset_price, errors.PriceBelowUpset),
    ],
)
def test_each_refusal_has_an_error_of_its_own(
    shop: Shop, prepare: Callable[..., None], error: type[errors.Refusal]
) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(shop.bidder(), session, "130")
    prepare(shop, bidder, session)
    with pytest.raises(error):
        shop.bid(bidder, session, "120")


def test_a_price_below_the_upset_price_is_told_the_upset_price(shop: Shop) -> None:
    session = shop.session(upset_price=Decimal("100.00"))
    with pytest.raises(errors.PriceBelowUpset) as refused:
        shop.bid(shop.bidder(), session, "99.99")
    assert refused.value.upset_price == Decimal("100.00")


def test_the_upset_price_itself_is_admissible(shop: Shop) -> None:
    session = shop.session(upset_price=Decimal("100.00"))
    assert shop.bid(shop.bidder(), session, "100").price == Decimal("100.00")


def test_a_bid_in_a_session_that_nobody_made_is_refused(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    with pytest.raises(errors.SessionNotFound):
        shop.services.bidding.place(bidder, uuid4(), Decimal(120), schedule_drain=print)
    assert shop.bid(bidder, session, "120").sequence == 1


def test_a_revoked_token_is_refused_before_anything_else_is_told(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.services.revocations.load()
    revoke_token(shop, bidder, session)
    lose_session(shop, bidder, session)
    assert call(shop, bidder, session) == ["token_revoked"]


def test_a_paused_session_takes_bids_again_when_it_is_activated(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.services.sessions.deactivate(session.session_id)
    shop.services.sessions.activate(session.session_id)
    assert shop.bid(bidder, session, "120").sequence == 1


# --- What Redis lost is given back ---------------------------------------------------


def test_an_unknown_weight_is_read_from_postgresql_and_cached(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE users SET weight = 2.5")
    lose_weight(shop, bidder, session)
    assert shop.bid(bidder, session, "120").user_weight == 2.5
    assert shop.services.redis.get(keys.user_weight(bidder.user_id)) == "2.5"


def test_a_member_who_is_gone_cannot_bid(shop: Shop) -> None:
    session = shop.session()
    with pytest.raises(errors.TokenInvalid):
        shop.bid(Bidder(uuid4(), "ghost", "token"), session, "120")


def test_unknown_revocations_are_loaded_before_the_bid_is_judged(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    revoke_token(shop, bidder, session)
    lose_revocations(shop, bidder, session)
    with pytest.raises(errors.TokenRevoked):
        shop.bid(bidder, session, "120")


def test_all_that_redis_can_lose_may_be_lost_at_once(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.services.redis.flushdb()
    assert shop.bid(bidder, session, "120").rank == 1


# --- Accepted ------------------------------------------------------------------------


def test_an_accepted_bid_says_where_it_stands(shop: Shop) -> None:
    session = shop.session(inventory=1, **BY_PRICE)
    first = shop.bid(shop.bidder(), session, "130")
    second = shop.bid(shop.bidder(), session, "120")
    assert (first.rank, first.is_winning, first.sequence) == (1, True, 1)
    assert (second.rank, second.is_winning, second.sequence) == (2, False, 2)
    assert second.threshold_score == first.score == 130.0
    assert second.accepted_at > first.accepted_at


def test_while_places_are_free_the_threshold_is_the_last_bid(shop: Shop) -> None:
    session = shop.session(inventory=3, **BY_PRICE)
    shop.bid(shop.bidder(), session, "130")
    assert shop.bid(shop.bidder(), session, "120").threshold_score == 120.0


def test_sequences_have_no_holes_whatever_is_refused_between(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    sequences = []
    for price in ("120", "90", "130", "130", "110"):
        try:
            sequences.append(shop.bid(bidder, session, price).sequence)
        except errors.PriceBelowUpset:
            continue
    assert sequences == [1, 2, 2, 3]
    log = shop.services.redis.xrange(keys.bid_log(session.session_id))
    assert [entry_id for entry_id, _ in log] == ["1-0", "2-0", "3-0"]


def test_equal_scores_rank_by_earlier_acceptance(shop: Shop) -> None:
    session = shop.session(**BY_PRICE)
    bidders = [shop.bidder() for _ in range(12)]
    for bidder in bidders:
        shop.bid(bidder, session, "120")
    ranks = [
        shop.services.board.standing(session.session_id, bidder.user_id).rank for bidder in bidders
    ]
    assert ranks == list(range(1, 13))


def test_a_replaced_bid_is_late_among_equal_scores(shop: Shop) -> None:
    session, early, late = shop.session(**BY_PRICE), shop.bidder(), shop.bidder()
    shop.bid(early, session, "130")
    shop.bid(late, session, "120")
    assert shop.bid(early, session, "120").rank == 2


@pytest.mark.parametrize(("price", "rank"), [("140", 1), ("110", 2)])
def test_a_bid_replaces_the_standing_one_up_or_down(shop: Shop, price: str, rank: int) -> None:
    session, bidder = shop.session(**BY_PRICE), shop.bidder()
    shop.bid(shop.bidder(), session, "120")
    shop.bid(bidder, session, "130")
    placed = shop.bid(bidder, session, price)
    assert (placed.rank, placed.sequence, placed.replayed) == (rank, 3, False)
    assert shop.services.redis.zcard(keys.ranking(session.session_id)) == 2


def test_a_replaced_bid_is_scored_at_its_own_time(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    first = shop.bid(bidder, session, "120")
    second = shop.bid(bidder, session, "121")
    assert second.response_time > first.response_time
    assert second.score == score(
        Coefficients(0.5, 1000.0, 2.0), second.price, second.response_time, 1.0
    )


def test_the_first_bid_fixes_the_weight_for_the_session(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    shop.services.redis.set(keys.user_weight(bidder.user_id), "4.5")
    assert shop.bid(bidder, session, "121").user_weight == 1.0
    assert shop.bid(bidder, shop.session(), "121").user_weight == 4.5


def test_the_standing_bid_does_not_need_the_weight_cache(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    lose_weight(shop, bidder, session)
    assert call(shop, bidder, session, "121")[0] == "accepted"


def test_a_weight_may_come_in_as_an_argument(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.services.revocations.load()
    lose_weight(shop, bidder, session)
    assert call(shop, bidder, session, weight="2.75")[5] == "2.75"


def test_the_highest_bid_stays_when_its_member_bids_less(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    for price in ("120", "150.5", "110"):
        shop.bid(bidder, session, price)
    assert param(shop, session, "highest_bid") == "150.50"


# --- Replayed ------------------------------------------------------------------------


def test_a_repeated_bid_answers_the_standing_one_and_changes_nothing(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    first = shop.bid(bidder, session, "120")
    before = shop.redis_state()
    again = call(shop, bidder, session, "120.0")
    assert again[0] == "replayed"
    assert again[10] == 0
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
