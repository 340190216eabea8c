"""Drills must be able to fail: with its guard off a fault loses bids, and is seen to."""

import io
import os
import subprocess
import sys
from contextlib import closing

import pytest

from core.config import PROJECT_ROOT
from drill.campaign import PlannedRound, outcomes
from drill.environment.environment import CONTROLS_PATH
from drill.faults.faults import BY_NAME, FAULTS
from drill.progress import DrillProgress
from drill.safeguards import guards
from drill.safeguards.guards import Control

BIDS = 300
# In a process of its own: the patches stay.
APPLY_ALL = """
import importlib
import sitecustomize
for module, patch in sitecustomize.CONTROLS.values():
    patch(importlib.reload(importlib.import_module(module)))
"""


@pytest.mark.tools
def test_trimming_before_the_commit_is_seen_to_lose_bids() -> None:
    fault = BY_NAME["worker-before-commit"]
    planned = PlannedRound(fault, seed=1, is_control=True)
    with closing(outcomes([planned], BIDS, DrillProgress(io.StringIO()))) as rounds:
        _, outcome = next(rounds)
    assert (outcome.verdict, outcome.lost > 0) == ("LOST", True), outcome


def test_every_control_belongs_to_a_fault() -> None:
    controls = {value for value in vars(guards).values() if isinstance(value, Control)}
    assert {fault.control for fault in FAULTS} == controls


def test_only_rounds_that_need_the_same_stack_share_one() -> None:
    killed, ahead = BY_NAME["web-killed"], BY_NAME["clock-ahead"]
    assert PlannedRound(BY_NAME["bad-entry"], 1).needs == PlannedRound(killed, 2).needs
    assert PlannedRound(ahead, 1).needs != PlannedRound(killed, 1).needs
    assert PlannedRound(killed, 1, is_control=True).needs != PlannedRound(killed, 1).needs


def test_every_guard_is_still_where_its_control_takes_it_away() -> None:
    environ = {**os.environ, "PYTHONPATH": str(CONTROLS_PATH)}
    subprocess.run([sys.executable, "-c", APPLY_ALL], env=environ, cwd=PROJECT_ROOT, check=True)  # noqa: S603 - our own code
