"""The score's formula and the order of the board, to the last bit."""

from decimal import Decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from core.rules.scoring import (
    Coefficients,
    is_winning,
    member_user_id,
    ranking_member,
    response_time,
    score,
    tells_cents,
)

USER = "6f7f0d8e-1c1b-4f0e-9d57-0b8f2f3c9a11"
# Sizes are drawn, so that cents are often at the edge of what doubles tell.
coefficients = st.just(0.0) | st.builds(
    lambda digits, exponent: min(digits * 10.0**exponent, 1e15),
    st.floats(1, 10),
    st.integers(-330, 15),
)
any_terms = st.builds(
    Coefficients,
    st.floats(0, 1e15, exclude_min=True) | st.floats(0.001, 10),
    coefficients | st.floats(1e9, 1e15),
    coefficients | st.floats(1e9, 1e15),
)
cents = st.integers(1, 999_999_999_998) | st.integers(1, 100_000)
sequences = st.integers(min_value=1, max_value=999_999_999_999_999)


def test_score_adds_price_speed_and_weight() -> None:
    assert score(Coefficients(0.5, 1000.0, 2.0), Decimal("100.00"), 1.0, 1.5) == 553.0


def test_score_is_added_in_the_order_written() -> None:
    # Added from the right it would be 0.6.
    assert score(Coefficients(0.1, 0.2, 0.3), Decimal(1), 0.0, 1.0) == 0.6000000000000001


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (Coefficients(1.0, 0.0, 0.0), 250.0),
        (Coefficients(0.0, 1.0, 0.0), 0.25),
        (Coefficients(0.0, 0.0, 1.0), 2.5),
    ],
)
def test_each_coefficient_weighs_its_own_part(terms: Coefficients, expected: float) -> None:
    assert score(terms, Decimal(250), 3.0, 2.5) == expected


@given(
    terms=any_terms,
    cents=cents,
    seconds=st.just(0.0) | st.floats(0, 1e6),
    weight=st.sampled_from([1.0, 5.0]) | st.floats(1, 5),
)
@example(terms=Coefficients(0.5, 8.7e12, 0.0), cents=10_000, seconds=0.0, weight=1.0)
def test_where_terms_tell_cents_one_cent_more_always_scores_more(
    terms: Coefficients, cents: int, seconds: float, weight: float
) -> None:
    assume(tells_cents(terms))
    lower, higher = (Decimal(number) / 100 for number in (cents, cents + 1))
    assert score(terms, lower, seconds, weight) < score(terms, higher, seconds, weight)


@pytest.mark.parametrize(
    "terms",
    [
        Coefficients(0.5, 1000.0, 1e15),
        Coefficients(0.5, 1e15, 2.0),
        Coefficients(0.5, 1e14, 0.0),
        Coefficients(1e-9, 1e6, 0.0),
        Coefficients(1e-300, 1000.0, 2.0),
        Coefficients(1e-320, 0.0, 1e-300),
        Coefficients(5e-324, 0.0, 0.0),
    ],
)
def test_terms_under_which_prices_tie_do_not_tell_cents(terms: Coefficients) -> None:
    prices = [Decimal("100.00") + Decimal("0.01") * cent for cent in range(1000)]
    for speed in (0.0, 1.0, 9.0):
        scores = [score(terms, price, speed, 5.0) for price in prices]
        if len(set(scores)) < len(scores):
            break
    else:
        pytest.fail("these prices do not tie")
    assert not tells_cents(terms)


@pytest.mark.parametrize(
    "terms",
    [
        Coefficients(0.5, 1000.0, 2.0),
        Coefficients(0.0, 1000.0, 1e15),
        Coefficients(0.0, 1e15, 1e15),
        Coefficients(1e15, 1e15, 1e15),
        Coefficients(1e-300, 0.0, 0.0),
        Coefficients(0.01, 1e10, 1e9),
    ],
)
def test_terms_that_tell_cents_or_do_not_count_prices_are_good(terms: Coefficients) -> None:
    assert tells_cents(terms)


def test_the_response_time_is_exact_to_the_microsecond() -> None:
    assert response_time(1_795_575_759_955_733, 1_795_575_759_937_239) == 0.018494


@given(earlier=sequences, later=sequences)
def test_of_equal_scores_a_reversed_read_puts_the_earlier_bid_first(
    earlier: int, later: int
) -> None:
    members = sorted([ranking_member(later, USER), ranking_member(earlier, USER)], reverse=True)
    assert members[0] == ranking_member(min(earlier, later), USER)


@given(sequence=sequences)
def test_the_user_can_be_read_back_from_a_ranking_member(sequence: int) -> None:
    assert member_user_id(ranking_member(sequence, USER)) == USER


@pytest.mark.parametrize(("rank", "wins"), [(1, True), (3, True), (4, False)])
def test_a_rank_wins_when_there_is_an_item_for_it(rank: int, wins: bool) -> None:
    assert is_winning(rank, inventory=3) is wins
