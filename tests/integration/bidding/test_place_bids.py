"""place_bids.lua: every outcome, alone and among others, the order of the board, the rate limit."""

from collections.abc import Callable
from decimal import Decimal
from uuid import uuid4

import pytest

from core import errors
from core.bidding.placing import Bidder
from core.redis import keys
from core.rules.scoring import Coefficients, score
from core.sessions.sessions import SessionView
from tests.integration.bidding.placing import (
    BY_PRICE,
    call,
    end_in_time,
    lose_revocations,
    lose_session,
    lose_weight,
    pause,
    revoke_token,
    set_param,
    start_later,
)
from tests.support.factories import Shop

# --- Refusals ------------------------------------------------------------------------


def end_early(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.sessions.end_now(session.session_id)


def raise_upset_price(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    set_param(shop, session, "upset_price", "120.01")


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
    assert second.accepted_at > first.accepted_at


def test_while_places_are_free_the_threshold_is_the_last_bid(shop: Shop) -> None:
    session = shop.session(inventory=3, **BY_PRICE)
    shop.bid(shop.bidder(), session, "130")
    shop.bid(shop.bidder(), session, "120")
    board = shop.services.board.page(session.session_id, page=1, page_size=10)
    assert board.threshold_score == 120.0


def test_sequences_have_no_holes_whatever_is_refused_between(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    sequences = []
    for price in ("120", "90", "130", "130", "110", "140"):
        try:
            sequences.append(shop.bid(bidder, session, price).sequence)
        except (errors.PriceBelowUpset, errors.PriceBelowStanding):
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
    shop.bid(early, session, "110")
    shop.bid(late, session, "120")
    assert shop.bid(early, session, "120").rank == 2


@pytest.mark.parametrize(("price", "rank"), [("140", 1), ("110", 2)])
def test_a_bid_replaces_the_standing_one_up_or_down(shop: Shop, price: str, rank: int) -> None:
    session, bidder = shop.session(allow_lower_bids=True, **BY_PRICE), shop.bidder()
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
