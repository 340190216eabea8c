"""Percentiles and the second-by-second figures."""

from math import isnan

import pytest

from loadtest.ledger.figures import Latency, percentile, seconds, totals
from tests.loadtest.bids import attempt


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1), (0.0, 1)]
)
def test_a_percentile_is_a_value_that_occurred(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 101)], share) == expected


def test_few_values_have_the_slowest_as_p99() -> None:
    assert percentile([1.0, 2.0, 500.0], 0.99) == 500.0


def test_nothing_has_no_percentile() -> None:
    assert isnan(Latency.of([]).p99)


def test_offered_counts_when_a_bid_was_meant_and_achieved_when_it_was_answered() -> None:
    slow = attempt(intended_at=100.5, latency_ms=2000)
    by_second = seconds([slow], start=100)
    assert [(s.at, s.offered, s.achieved) for s in by_second] == [(0, 1, 0), (1, 0, 0), (2, 0, 1)]


def test_a_stall_shows_in_every_bid_that_was_due() -> None:
    """One second of standing still: the open model counts the wait of each bid."""
    stalled = [attempt(intended_at=100 + n / 10, latency_ms=1000 - n * 100) for n in range(10)]
    [second, _] = seconds(stalled, start=100)
    assert second.latency.p50 == 500
    assert second.latency.slowest == 1000


def test_seconds_before_the_start_are_negative() -> None:
    assert seconds([attempt(intended_at=98.5)], start=100)[0].at == -2


def test_early_and_late_bids_are_refusals_not_errors() -> None:
    attempts = [
        attempt(),
        attempt(kind="session_ended", status=409, latency_ms=900),
        attempt(kind="session_not_started", status=409),
        attempt(kind="timeout", status=0),
        attempt(kind="http_502", status=502),
        attempt(kind="rate_limited", status=429),
        attempt(kind="abandoned", status=0, latency_ms=1),
    ]
    total = totals(attempts, seconds(attempts, start=100))
    assert (total.attempts, total.accepted, total.errors) == (7, 1, 3)
    assert total.best_second == 1
    assert (total.latency.count, total.latency.slowest) == (5, 10)
