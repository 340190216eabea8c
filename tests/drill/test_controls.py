"""Drills must be able to fail: with its guard off a fault loses bids, and is seen to."""

from drill.faults import BY_NAME
from drill.rounds import play

BIDS = 300


def test_trimming_before_the_commit_is_seen_to_lose_bids() -> None:
    fault = BY_NAME["worker-before-commit"]
    outcome = play(fault, seed=1, bids=BIDS, control=fault.control)
    assert (outcome.verdict, outcome.lost > 0) == ("LOST", True), outcome
