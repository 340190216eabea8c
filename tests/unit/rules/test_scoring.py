"""The score's formula and the order of the board, to the last bit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rules.scoring import (
    Coefficients,
    is_winning,
    member_user_id,
    ranking_member,
    response_time,
    score,
)

USER = "6f7f0d8e-1c1b-4f0e-9d57-0b8f2f3c9a11"
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
