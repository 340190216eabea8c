"""The curve of a sale, and the arrivals drawn from it."""

from itertools import pairwise
from math import sqrt

import pytest

from loadtest.sale.curve import LATE_SECONDS, Curve

CURVE = Curve(duration_seconds=60)


def integral(curve: Curve, low: float, high: float, steps: int = 20_000) -> float:
    width = (high - low) / steps
    return sum(curve.level(low + (step + 0.5) * width) for step in range(steps)) * width


def test_members_gather_before_the_opening() -> None:
    assert CURVE.level(-3) == CURVE.opening


def test_the_opening_is_a_spike() -> None:
    assert CURVE.level(0) == pytest.approx(CURVE.opening, abs=0.01)
    assert CURVE.level(3 * CURVE.opening_seconds) < CURVE.opening / 4


def test_the_middle_is_quiet() -> None:
    assert CURVE.level(30) == pytest.approx(CURVE.quiet, abs=0.03)


def test_the_rush_to_the_deadline_is_exponential() -> None:
    """Each closing time constant multiplies what is above quiet by e."""
    late = CURVE.level(60) - CURVE.quiet
    earlier = CURVE.level(60 - CURVE.closing_seconds) - CURVE.quiet
    assert late / earlier == pytest.approx(2.718, rel=0.01)


def test_the_peak_is_at_the_deadline() -> None:
    levels = [CURVE.level(tenth / 10) for tenth in range(600)]
    assert max(levels) <= 1.0
    assert CURVE.level(60) == pytest.approx(1.0)


def test_some_come_too_late_and_then_it_is_over() -> None:
    assert CURVE.level(60 + LATE_SECONDS / 2) == 1.0
    assert CURVE.level(60 + LATE_SECONDS) == 0.0


def test_arrivals_are_in_order_and_within_the_sale() -> None:
    arrivals = CURVE.arrivals(50, seed=1)
    assert all(left < right for left, right in pairwise(arrivals))
    assert arrivals[0] > 0
    assert arrivals[-1] < CURVE.end_seconds


def test_the_same_seed_gives_the_same_arrivals() -> None:
    assert CURVE.arrivals(50, seed=7) == CURVE.arrivals(50, seed=7)
    assert CURVE.arrivals(50, seed=7) != CURVE.arrivals(50, seed=8)


@pytest.mark.parametrize(("low", "high"), [(0, 4), (10, 40), (55, 60), (60, 61.5)])
def test_arrivals_follow_the_curve(low: float, high: float) -> None:
    """As many as the area under it, within five standard deviations."""
    expected = 400 * integral(CURVE, low, high)
    count = sum(low <= arrival < high for arrival in CURVE.arrivals(400, seed=3))
    assert abs(count - expected) < 5 * sqrt(expected)
