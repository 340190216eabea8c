"""The price to pay: the lowest cent that still wins, by the scores that bids have."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from core.rules.pricing import OrderTerms, Pricing, RankedBid, price_to_pay, rival_rank
from core.rules.scoring import score, tells_cents

START = Decimal("1.00")
TERMS = OrderTerms(
    alpha=0.5,
    beta=1000.0,
    gamma=2.0,
    upset_price=START,
    inventory=3,
    pricing=Pricing.SECOND_SCORE.value,
)
CENT = Decimal("0.01")

# Coefficients of which hardly any sum is exact.
coefficients = st.sampled_from([0.0, 0.1, 1 / 3, 0.7, 1e-3, 1e-12, 5e-324]) | st.floats(0, 1e15)
all_terms = st.builds(
    lambda alpha, beta, gamma: replace(TERMS, alpha=alpha, beta=beta, gamma=gamma),
    st.floats(1e-4, 10) | coefficients,
    st.floats(0, 1e4) | coefficients,
    st.floats(0, 100) | coefficients,
)
cents = st.integers(100, 2000) | st.integers(100, 999_999_999_999)
seconds = st.just(0.0) | st.floats(0, 1e6)
weights = st.sampled_from([1.0, 5.0]) | st.floats(1, 5)
bids = st.tuples(cents, seconds, weights)


def bid_of(terms: OrderTerms, sequence: int, bid: tuple[int, float, float]) -> RankedBid:
    price, waited, weight = Decimal(bid[0]) / 100, bid[1], bid[2]
    return RankedBid(sequence, price, score(terms, price, waited, weight), waited, weight)


def would_win(terms: OrderTerms, bid: RankedBid, price: Decimal, rival: RankedBid) -> bool:
    scored = score(terms, price, bid.response_time, bid.weight)
    return scored > rival.score or (scored == rival.score and bid.sequence < rival.sequence)


def ranked(
    terms: OrderTerms, first: tuple[int, float, float], second: tuple[int, float, float]
) -> tuple[RankedBid, RankedBid]:
    """The better and the worse of two bids."""
    pair = bid_of(terms, 1, first), bid_of(terms, 2, second)
    better, worse = sorted(pair, key=lambda bid: (-bid.score, bid.sequence))
    return better, worse


@given(terms=all_terms, first=bids, second=bids)
@example(terms=replace(TERMS, alpha=0.1), first=(30_10, 0.0, 1.0), second=(30_00, 0.0, 1.0))
@example(terms=replace(TERMS, beta=0.0), first=(150, 9.0, 1.0), second=(150, 9.0, 1.0))
def test_the_price_wins_and_one_cent_less_loses(
    terms: OrderTerms, first: tuple[int, float, float], second: tuple[int, float, float]
) -> None:
    winner, loser = ranked(terms, first, second)
    price = price_to_pay(terms, winner, loser)
    assert START <= price <= winner.price
    assert would_win(terms, winner, price, loser)
    assert price == START or not would_win(terms, winner, price - CENT, loser)


@given(terms=all_terms, first=bids, second=bids)
def test_the_price_is_the_first_that_wins_of_all_cents(
    terms: OrderTerms, first: tuple[int, float, float], second: tuple[int, float, float]
) -> None:
    winner, loser = ranked(terms, first, second)
    assume(winner.price <= 20)
    tried = (START + CENT * step for step in range(2000))
    expected = next(price for price in tried if would_win(terms, winner, price, loser))
    assert price_to_pay(terms, winner, loser) == expected


@given(terms=all_terms, first=bids, second=bids)
def test_a_price_above_the_own_bid_is_an_error_and_no_price(
    terms: OrderTerms, first: tuple[int, float, float], second: tuple[int, float, float]
) -> None:
    winner, loser = ranked(terms, first, second)
    with pytest.raises(AssertionError, match="does not beat"):
        price_to_pay(terms, loser, winner)


@pytest.mark.parametrize(
    ("winner", "loser", "expected"),
    [
        # The same time and weight: the loser's price, or a cent more if that came first.
        (bid_of(TERMS, 1, (250_00, 1.0, 1.0)), bid_of(TERMS, 2, (200_00, 1.0, 1.0)), "200.00"),
        (bid_of(TERMS, 2, (250_00, 1.0, 1.0)), bid_of(TERMS, 1, (200_00, 1.0, 1.0)), "200.01"),
        # Ten points of speed or weight are worth twenty in the price.
        (bid_of(TERMS, 1, (250_00, 1.0, 5.0)), bid_of(TERMS, 2, (200_00, 1.0, 1.0)), "184.00"),
        # A tie: the whole bid.
        (bid_of(TERMS, 1, (200_00, 1.0, 1.0)), bid_of(TERMS, 2, (200_00, 1.0, 1.0)), "200.00"),
        # Speed alone wins.
        (bid_of(TERMS, 1, (250_00, 0.0, 1.0)), bid_of(TERMS, 2, (200_00, 9.0, 1.0)), "1.00"),
        (bid_of(TERMS, 1, (250_00, 0.0, 1.0)), None, "1.00"),
    ],
)
def test_the_price_makes_up_for_speed_and_weight(
    winner: RankedBid, loser: RankedBid | None, expected: str
) -> None:
    assert str(price_to_pay(TERMS, winner, loser)) == expected


def test_where_prices_do_not_count_winners_pay_the_starting_price() -> None:
    terms = replace(TERMS, alpha=0.0)
    winner, loser = ranked(terms, (300_00, 1.0, 1.0), (900_00, 2.0, 1.0))
    assert tells_cents(terms)
    assert price_to_pay(terms, winner, loser) == START


def test_who_pays_as_bid_pays_the_bid() -> None:
    terms = replace(TERMS, pricing=Pricing.PAY_AS_BID.value)
    winner, loser = ranked(terms, (300_00, 1.0, 1.0), (900_00, 2.0, 1.0))
    assert price_to_pay(terms, winner, loser) == winner.price


@pytest.mark.parametrize(("rank", "rival"), [(1, 4), (3, 4), (4, 5), (9, 10)])
def test_winners_have_to_beat_the_best_loser_and_successors_the_next(rank: int, rival: int) -> None:
    assert rival_rank(rank, inventory=3) == rival
