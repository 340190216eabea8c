"""Drills must be able to fail: with its guard off a fault loses bids, and is seen to."""

import io
from contextlib import closing

from drill import guards
from drill.campaign import outcomes
from drill.faults import BY_NAME, FAULTS
from drill.guards import Control
from drill.progress import Progress

BIDS = 300


def test_trimming_before_the_commit_is_seen_to_lose_bids() -> None:
    fault = BY_NAME["worker-before-commit"]
    with closing(outcomes(fault, [1], BIDS, Progress(io.StringIO()), as_control=True)) as rounds:
        _, outcome = next(rounds)
    assert (outcome.verdict, outcome.lost > 0) == ("LOST", True), outcome


def test_every_control_belongs_to_a_fault() -> None:
    controls = {value for value in vars(guards).values() if isinstance(value, Control)}
    assert {fault.control for fault in FAULTS} == controls
