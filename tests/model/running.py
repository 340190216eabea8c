"""How the machine runs, as the environment variable HYPOTHESIS_PROFILE says.

ci       the same histories every time; the first one that goes wrong is shown as it is
gate     a third more of them, for .ci/run
explain  the histories of the gate, and the shortest one that goes wrong: that takes minutes
soak     many long histories, others every time
"""

import os
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import AuctionMachine

BASE = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
FIXED = settings(BASE, max_examples=200, stateful_step_count=12, derandomize=True)
PROFILES = {
    "ci": settings(FIXED, phases=[Phase.generate], max_examples=150),
    "gate": settings(FIXED, phases=[Phase.generate]),
    "explain": FIXED,
    "soak": settings(BASE, max_examples=3000, stateful_step_count=60),
}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")


def run(make: Callable[[], AuctionMachine], profile: settings) -> None:
    run_state_machine_as_test(make, settings=profile)
