"""Frame lag, from moments that a person can check."""

from collections import Counter
from math import isnan

from loadtest.ledger import lags
from loadtest.ledger.lags import Lag
from loadtest.ledger.ledger import SeenFrames
from tests.loadtest.bids import attempt

# Three bids at 10.1, 10.3 and 11.0; frames of 10.0, 10.2 and 11.0.
ACCEPTED = [10.1, 10.3, 11.0]


def test_a_bid_is_seen_with_the_first_frame_of_its_moment_or_later() -> None:
    seen = [SeenFrames(10.0, 10.2, {5: 2, 7: 1}), SeenFrames(10.2, 11.0, {4: 3})]
    assert lags.by_second(seen, ACCEPTED, start=10.0) == {
        0: Counter({105: 2, 107: 1, 704: 3}),
        1: Counter({4: 3}),
    }


def test_a_watcher_who_missed_a_frame_saw_its_bids_late() -> None:
    assert lags.by_second([SeenFrames(10.0, 11.0, {4: 1})], ACCEPTED, start=0.0)[10] == Counter(
        {904: 1, 704: 1}
    )


def test_a_frame_without_a_new_bid_counts_for_nothing() -> None:
    assert lags.by_second([SeenFrames(10.3, 10.9, {500: 9})], ACCEPTED, start=0.0) == {}


def test_percentiles_are_of_bids_times_watchers() -> None:
    lag = Lag.of(Counter({10: 50, 20: 49, 900: 1}))
    assert (lag.count, lag.p50, lag.p99, lag.slowest) == (100, 10.0, 20.0, 900.0)


def test_nothing_seen_has_no_percentile() -> None:
    lag = lags.total([], ACCEPTED)
    assert lag.count == 0
    assert isnan(lag.p99)


def test_only_accepted_bids_have_a_moment() -> None:
    at = "2030-01-31T18:00:01.250000+00:00"
    bids = [attempt(accepted_at=at), attempt(kind="replayed", accepted_at=at), attempt(kind="x")]
    assert lags.moments(bids) == [1896112801.25]
