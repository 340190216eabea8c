"""place_bids.lua: several bids in one call."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from redis.exceptions import ResponseError

from core import errors
from core.bidding.placing import MAX_BATCH_BIDS, Bidder
from core.redis import keys
from core.rules.scoring import Coefficients, ranking_member, response_time, score
from core.sessions.sessions import SessionView
from tests.integration.bidding.placing import (
    BY_PRICE,
    call,
    call_all,
    end_in_time,
    lose_revocations,
    lose_session,
    lose_weight,
    param,
    pause,
    revoke_token,
    start_later,
)
from tests.support.factories import Shop

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
    session, bidders = shop.session(allow_lower_bids=True, **BY_PRICE), shop.crowd(14)
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
    _, replies = call_all(shop, session, bids)
    assert [(reply[0], reply[1], reply[7]) for reply in replies] == [
        ("replayed", "2", 1),
        ("accepted", "3", 2),
        ("replayed", "1", 3),
    ]
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


def test_ranks_are_those_after_the_whole_call(shop: Shop) -> None:
    session, bidders = shop.session(inventory=2, **BY_PRICE), shop.crowd(4)
    prices = ["110", "120", "130", "140"]
    of_all, replies = call_all(shop, session, list(zip(bidders, prices, strict=True)))
    assert of_all[0] == "2"
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
    assert of_all == ["7", 1]
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
