"""place_bids.lua: every outcome, alone and among others, the order of the board, the rate limit."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from msgspec import msgpack
from redis.exceptions import ResponseError

from core import errors
from core.bidding.placing import MAX_BATCH_BIDS, Bidder, PlacedBid
from core.bidlog.drain import DRAIN_TRUST_US
from core.redis import clock, keys, scripts
from core.rules.scoring import Coefficients, ranking_member, response_time, score
from core.sessions.sessions import SessionView
from tests.support.factories import Shop, bidding_like

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}
HOUR_US = 3_600_000_000
NO_LIMIT = (0, 1)


def call_all(
    shop: Shop,
    session: SessionView,
    bids: Sequence[tuple[Bidder, str]],
    *,
    weight: str = "",
    limits: tuple[float, int] = NO_LIMIT,
) -> tuple[list[Any], list[list[Any]]]:
    """The script's own reply to these bids in one call: what holds for all, and one for each."""
    session_id = session.session_id
    members = [bidder.user_id for bidder, _ in bids]
    arguments = [
        [str(bidder.user_id), bidder.username, price, bidder.token_id, weight]
        for bidder, price in bids
    ]
    of_all, *replies = scripts.place_bids(
        shop.services.redis,
        [
            keys.session_params(session_id),
            keys.ranking(session_id),
            keys.bid_log(session_id),
            keys.REVOKED_TOKENS,
            *[keys.standing_bid(session_id, member) for member in members],
            *[keys.user_weight(member) for member in members],
        ],
        [*limits, DRAIN_TRUST_US, msgpack.encode(arguments)],
    )
    return of_all, replies


def call(
    shop: Shop,
    bidder: Bidder,
    session: SessionView,
    price: str = "120.00",
    *,
    weight: str = "",
    limits: tuple[float, int] = NO_LIMIT,
) -> list[Any]:
    """The script's reply to one bid, without the service that heals what Redis lost."""
    _, [reply] = call_all(shop, session, [(bidder, price)], weight=weight, limits=limits)
    return reply


def limited(shop: Shop, rate: float, burst: int) -> Callable[..., PlacedBid]:
    """Places bids under a rate limit of the test's own."""
    bidding = bidding_like(shop.services, bids_per_second=rate, burst=burst)

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
    (_, _, drain_due), [again] = call_all(shop, session, [(bidder, "120.0")])
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


# --- Several bids in one call --------------------------------------------------------


def outcomes(replies: Sequence[Sequence[Any]]) -> list[str]:
    return [reply[0] for reply in replies]


def ranks_on_the_board(
    shop: Shop, session: SessionView, bids: Sequence[tuple[Bidder, str]]
) -> list[int]:
    board = shop.services.board
    return [board.standing(session.session_id, bidder.user_id).rank for bidder, _ in bids]


def standing_key(bidder: Bidder, session: SessionView) -> str:
    return keys.standing_bid(session.session_id, bidder.user_id)


def make_unreadable(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.redis.set(standing_key(bidder, session), "no hash")


def be_refused(shop: Shop, session: SessionView) -> tuple[list[tuple[Bidder, str]], list[str]]:
    """Bids that are each refused for another reason, and the reasons."""
    revoked, disabled, low, fast, unweighed, unreadable = shop.crowd(6)
    call(shop, fast, session, "140", limits=(0.001, 1))
    revoke_token(shop, revoked, session)
    shop.services.revocations.disable(disabled.user_id)
    lose_weight(shop, unweighed, session)
    make_unreadable(shop, unreadable, session)
    bids = [
        (revoked, "150"),
        (disabled, "150"),
        (low, "99.99"),
        (fast, "150"),
        (unweighed, "150"),
        (unreadable, "150"),
    ]
    return bids, [
        "token_revoked",
        "account_disabled",
        "price_below_upset",
        "rate_limited",
        "unknown_weight",
        "unreadable",
    ]


def test_bids_that_are_all_refused_leave_every_key_as_it_was(shop: Shop) -> None:
    session = shop.session()
    bids, reasons = be_refused(shop, session)
    before = shop.redis_state()
    of_all, replies = call_all(shop, session, bids, limits=(0.001, 1))
    assert (of_all, outcomes(replies)) == ([], reasons)
    assert shop.redis_state() == before


@pytest.mark.parametrize(
    ("prepare", "outcome"),
    [
        (lose_revocations, "unknown_revocations"),
        (lose_session, "unknown_session"),
        (end_in_time, "session_ended"),
        (pause, "session_inactive"),
        (start_later, "session_not_started"),
    ],
)
def test_what_refuses_all_bids_says_so_to_each(
    shop: Shop, prepare: Callable[..., None], outcome: str
) -> None:
    session, bidders = shop.session(), shop.crowd(3)
    call(shop, bidders[0], session)
    prepare(shop, bidders[0], session)
    before = shop.redis_state()
    of_all, replies = call_all(shop, session, [(bidder, "130") for bidder in bidders])
    assert (of_all, replies) == ([], [[outcome]] * 3)
    assert shop.redis_state() == before


def test_good_bids_are_taken_among_bad_ones(shop: Shop) -> None:
    session = shop.session(**BY_PRICE)
    bad, reasons = be_refused(shop, session)
    before = shop.redis_state()
    good = [(bidder, str(200 + number)) for number, bidder in enumerate(shop.crowd(len(bad)))]
    mixed = [bid for pair in zip(bad, good, strict=True) for bid in pair]
    _, replies = call_all(shop, session, mixed, limits=(0.001, 1))
    assert outcomes(replies[::2]) == reasons
    assert outcomes(replies[1::2]) == ["accepted"] * len(good)
    assert [reply[1] for reply in replies[1::2]] == ["2", "3", "4", "5", "6", "7"]
    after = shop.redis_state()
    for bidder, _ in bad:
        for name in (standing_key(bidder, session), keys.user_weight(bidder.user_id)):
            assert after.get(name) == before.get(name)
    assert shop.services.redis.zcard(keys.ranking(session.session_id)) == 1 + len(good)


WHAT_A_STANDING_BID_HAS = ("price", "score", "response_time", "weight", "sequence", "accepted_at")


@pytest.mark.parametrize("price", ["130.00", "140.00"], ids=["replay", "another price"])
@pytest.mark.parametrize("field", WHAT_A_STANDING_BID_HAS)
def test_a_standing_bid_that_lacks_something_harms_no_other(
    shop: Shop, field: str, price: str
) -> None:
    session, (first, odd, last) = shop.session(), shop.crowd(3)
    call(shop, odd, session, "130.00")
    shop.services.redis.hdel(standing_key(odd, session), field)
    remnant = shop.services.redis.hgetall(standing_key(odd, session))
    _, replies = call_all(shop, session, [(first, "120"), (odd, price), (last, "120")])
    assert outcomes(replies) == ["accepted", "unreadable", "accepted"]
    assert [replies[0][1], replies[2][1]] == ["2", "3"]
    assert shop.services.redis.hgetall(standing_key(odd, session)) == remnant


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", "heavy"),
        ("weight", "nan"),
        ("weight", "inf"),
        ("sequence", "first"),
        ("tokens", "many"),
        ("tokens_at", "noon"),
    ],
)
def test_a_standing_bid_that_makes_no_sense_harms_no_other(
    shop: Shop, field: str, value: str
) -> None:
    session, (first, odd, last) = shop.session(), shop.crowd(3)
    call(shop, odd, session, "130.00")
    shop.services.redis.hset(standing_key(odd, session), field, value)
    _, replies = call_all(shop, session, [(first, "120"), (odd, "140"), (last, "120")])
    assert outcomes(replies) == ["accepted", "unreadable", "accepted"]


def test_who_has_an_unreadable_standing_bid_is_told_that_it_was_not_taken(shop: Shop) -> None:
    session, odd = shop.session(), shop.bidder()
    make_unreadable(shop, odd, session)
    with pytest.raises(errors.BidNotTaken):
        shop.bid(odd, session, "130")
    assert shop.bid(shop.bidder(), session, "130").sequence == 1


def test_equal_scores_of_one_call_rank_by_sequence_behind_those_that_stand(shop: Shop) -> None:
    session, bidders = shop.session(**BY_PRICE), shop.crowd(14)
    early = [(bidder, "120") for bidder in bidders[:4]]
    for bidder, price in early:
        call(shop, bidder, session, price)
    late = [(bidder, ("120", "130")[number % 2]) for number, bidder in enumerate(bidders[4:])]
    # One who stands among them leaves the first place of the equals for the last.
    late.insert(3, (bidders[0], "130"))
    late.insert(6, (bidders[1], "110"))

    _, replies = call_all(shop, session, late)
    assert outcomes(replies) == ["accepted"] * len(late)
    assert [reply[7] for reply in replies] == ranks_on_the_board(shop, session, late)
    of_130 = [reply[7] for (_, price), reply in zip(late, replies, strict=True) if price == "130"]
    assert of_130 == list(range(1, 7))
    of_120 = [reply[7] for (_, price), reply in zip(late, replies, strict=True) if price == "120"]
    assert of_120 == [9, 10, 11, 12, 13], "behind the two that stood and stayed"


def test_replays_are_answered_among_new_bids_with_the_ranks_of_after_the_call(shop: Shop) -> None:
    session, (low, high, fresh) = shop.session(**BY_PRICE), shop.crowd(3)
    call_all(shop, session, [(low, "120"), (high, "130")])
    bids = [(high, "130"), (fresh, "125"), (low, "120.0")]
    of_all, replies = call_all(shop, session, bids)
    assert [(reply[0], reply[1], reply[7]) for reply in replies] == [
        ("replayed", "2", 1),
        ("accepted", "3", 2),
        ("replayed", "1", 3),
    ]
    assert of_all[1] == "120"
    assert shop.services.redis.xlen(keys.bid_log(session.session_id)) == 3


def test_a_remnant_that_is_not_ranked_is_no_replay_and_is_replaced(shop: Shop) -> None:
    session, (bidder, other) = shop.session(**BY_PRICE), shop.crowd(2)
    call(shop, bidder, session, "120")
    shop.services.redis.delete(keys.ranking(session.session_id))
    _, replies = call_all(shop, session, [(other, "110"), (bidder, "120")])
    assert [(reply[0], reply[1], reply[7]) for reply in replies] == [
        ("accepted", "2", 2),
        ("accepted", "3", 1),
    ]


def test_rank_and_threshold_are_those_after_the_whole_call(shop: Shop) -> None:
    session, bidders = shop.session(inventory=2, **BY_PRICE), shop.crowd(4)
    prices = ["110", "120", "130", "140"]
    of_all, replies = call_all(shop, session, list(zip(bidders, prices, strict=True)))
    assert of_all[:2] == ["2", "130"]
    assert [reply[7] for reply in replies] == [4, 3, 2, 1]


def test_the_highest_bid_is_that_of_all_in_the_call_and_before(shop: Shop) -> None:
    session, bidders = shop.session(), shop.crowd(4)
    call_all(shop, session, list(zip(bidders, ["110", "150.50", "120", "1000"], strict=True)))
    assert param(shop, session, "highest_bid") == "1000"
    call_all(shop, session, list(zip(bidders, ["111", "999.99", "121", "500"], strict=True)))
    assert param(shop, session, "highest_bid") == "1000"


def test_one_call_asks_for_one_drain(shop: Shop) -> None:
    session, bidders = shop.session(), shop.crowd(3)
    (*_, due), _ = call_all(shop, session, [(bidder, "120") for bidder in bidders])
    (*_, due_again), _ = call_all(shop, session, [(bidder, "121") for bidder in bidders])
    assert (due, due_again) == (1, 0)


def test_when_the_log_refuses_nothing_at_all_has_changed(shop: Shop) -> None:
    session, bidders = shop.session(), shop.crowd(3)
    call(shop, bidders[0], session, "110")
    # As after a rewind: the log is ahead of the sequence.
    shop.services.redis.xadd(keys.bid_log(session.session_id), {"price": "1"}, id="99-0")
    before = shop.redis_state()
    with pytest.raises(ResponseError):
        call_all(shop, session, [(bidder, "120") for bidder in bidders])
    assert shop.redis_state() == before
    with pytest.raises(errors.BidNotTaken):
        shop.bid(shop.bidder(), session, "120")


def test_the_largest_call_is_scored_ranked_and_logged_bid_for_bid(shop: Shop) -> None:
    session = shop.session(upset_price=Decimal("0.01"), inventory=7)
    members = shop.crowd(MAX_BATCH_BIDS)
    for number, member in enumerate(members):
        shop.services.redis.set(keys.user_weight(member.user_id), repr(1 + number * 0.0371))
    bids = [
        (member, f"{(number * 7919) % 101 + 0.01:.2f}") for number, member in enumerate(members)
    ]
    of_all, replies = call_all(shop, session, bids)

    terms = Coefficients(session.alpha, session.beta, session.gamma)
    start = int(param(shop, session, "start") or 0)
    assert len({reply[6] for reply in replies}) == 1, "one moment for all"
    for number, ((_, price), reply) in enumerate(zip(bids, replies, strict=True)):
        _, sequence, price_text, scored, responded, weight, accepted_at, _ = reply
        assert (int(sequence), price_text, float(weight)) == (
            number + 1,
            price,
            1 + number * 0.0371,
        )
        assert float(responded).hex() == response_time(int(accepted_at), start).hex()
        expected = score(terms, Decimal(price), float(responded), float(weight))
        assert float(scored).hex() == expected.hex()

    ordered = sorted(replies, key=lambda reply: (-float(reply[3]), int(reply[1])))
    assert [reply[7] for reply in ordered] == list(range(1, MAX_BATCH_BIDS + 1))
    assert (of_all[0], float(of_all[1]), of_all[2]) == ("7", float(ordered[6][3]), 1)
    assert [reply[7] for reply in replies] == ranks_on_the_board(shop, session, bids)
    assert_stored(shop, session, bids, replies)
    assert shop.drain(session) == MAX_BATCH_BIDS
    assert shop.rows("SELECT count(DISTINCT (user_id, accepted_at, price)) FROM bids") == [
        (MAX_BATCH_BIDS,)
    ]


def assert_stored(
    shop: Shop, session: SessionView, bids: Sequence[tuple[Bidder, str]], replies: list[list[Any]]
) -> None:
    """The log, the ranking and the standing bids say what was answered."""
    redis, session_id = shop.services.redis, session.session_id
    named = [
        dict(
            zip(
                ("sequence", "price", "score", "response_time", "weight", "accepted_at"),
                reply[1:7],
                strict=True,
            )
        )
        for reply in replies
    ]
    for (bidder, _), fields in zip(bids, named, strict=True):
        standing = redis.hgetall(standing_key(bidder, session))
        assert standing.pop("tokens_at") == fields["accepted_at"]
        assert float(standing.pop("tokens")) == 1
        assert standing == fields | {"username": bidder.username}
        member = ranking_member(int(fields["sequence"]), str(bidder.user_id))
        assert redis.zscore(keys.ranking(session_id), member) == float(fields["score"])
    entries = redis.xrange(keys.bid_log(session_id))
    assert entries == [
        (
            f"{fields['sequence']}-0",
            {name: value for name, value in fields.items() if name != "sequence"}
            | {"user_id": str(bidder.user_id)},
        )
        for (bidder, _), fields in zip(bids, named, strict=True)
    ]


def test_what_redis_lost_is_given_back_to_all_bids_of_a_call(shop: Shop) -> None:
    session = shop.session()
    bidders = [shop.bidder() for _ in range(5)]
    shop.services.redis.flushdb()

    placed = shop.bid_at_once(session, [(bidder, "120") for bidder in bidders])
    first = min(bid.sequence for bid in placed)
    assert sorted(bid.sequence - first for bid in placed) == [0, 1, 2, 3, 4]
    assert sum(bid.drain_due for bid in placed) == 1
