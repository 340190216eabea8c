"""The member weight: where it starts, how it grows, where it stops."""

from math import log

import pytest

from core.rules.weighting import decayed, weight


def test_a_new_member_starts_at_exactly_one() -> None:
    assert weight(joined=decayed([]), won=decayed([])) == 1.0


def test_joined_and_won_sessions_count_by_their_logarithm() -> None:
    assert weight(joined=3.0, won=1.0) == 1 + 0.25 * log(4) + 0.5 * log(2)


def test_winning_counts_more_than_joining() -> None:
    assert weight(joined=2.0, won=1.0) > weight(joined=3.0, won=0.0) > 1.0


def test_no_member_weighs_more_than_five() -> None:
    assert weight(joined=1e9, won=1e9) == 5.0


def test_no_member_weighs_less_than_a_new_one() -> None:
    assert weight(joined=-0.5, won=0.0) == 1.0


@pytest.mark.parametrize(("age_days", "counts"), [(0, 1.0), (30, 0.5), (60, 0.25)])
def test_a_session_counts_half_after_thirty_days(age_days: float, counts: float) -> None:
    assert decayed([age_days]) == counts


def test_sessions_of_different_ages_add_up() -> None:
    assert decayed([0, 30, 30]) == 2.0
