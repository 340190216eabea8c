"""Runs rounds in sequence, in one environment as long as they hold, else in a fresh one."""

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from drill.environment.environment import drill_environment
from drill.faults.faults import Fault
from drill.judge import HOLDS, RoundOutcome
from drill.progress import DrillProgress
from drill.rounds import FAILURES, run_round
from drill.safeguards.guards import Control


@dataclass(frozen=True, slots=True)
class PlannedRound:
    """One round to run. `seed` determines its random choices."""

    fault: Fault
    seed: int
    is_control: bool = False

    @property
    def control(self) -> Control | None:
        return self.fault.control if self.is_control else None

    @property
    def needs(self) -> tuple[object, ...]:
        """Rounds with equal needs can share one environment."""
        return self.fault.settings_by_process, self.fault.disk_mib, self.control


Outcomes = Generator[tuple[PlannedRound, RoundOutcome], None, None]


def outcomes(
    planned_rounds: Sequence[PlannedRound], bids: int, progress: DrillProgress
) -> Outcomes:
    """Run each planned round. Close the generator to stop early."""
    waiting = deque(planned_rounds)
    while waiting:
        yield from _in_one_environment(waiting, bids, progress)


def _in_one_environment(
    waiting: deque[PlannedRound], bids: int, progress: DrillProgress
) -> Outcomes:
    first = waiting[0]
    progress.start_round(first.fault.name)
    progress.show_phase("starting")
    try:
        with drill_environment(
            first.fault.settings_by_process, first.fault.disk_mib, first.control
        ) as environment:
            verdict = HOLDS
            while waiting and verdict == HOLDS and waiting[0].needs == first.needs:
                planned = waiting[0]
                progress.start_round(f"{planned.fault.name}, seed {planned.seed}")
                outcome = run_round(planned.fault, environment, planned.seed, bids, progress)
                verdict = outcome.verdict
                yield waiting.popleft(), outcome
    except FAILURES as error:
        if waiting:
            yield waiting.popleft(), RoundOutcome(problems=(str(error),), was_run=False)
