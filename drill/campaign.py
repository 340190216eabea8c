"""Rounds one after another: on one site as long as they hold, else on a fresh one."""

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from drill.environment.environment import site
from drill.faults.faults import Fault
from drill.judge import HOLDS, Outcome
from drill.progress import Progress
from drill.rounds import FAILURES, play
from drill.safeguards.guards import Control


@dataclass(frozen=True, slots=True)
class Turn:
    """One round to be played. The seed is its chance."""

    fault: Fault
    seed: int
    is_control: bool = False

    @property
    def control(self) -> Control | None:
        return self.fault.control if self.is_control else None

    @property
    def needs(self) -> tuple[object, ...]:
        """Turns for which this is equal can be played on one site."""
        return self.fault.changes, self.fault.disk_mib, self.control


Outcomes = Generator[tuple[Turn, Outcome], None, None]


def outcomes(turns: Sequence[Turn], bids: int, progress: Progress) -> Outcomes:
    """Play each turn. Close the generator to leave early."""
    waiting = deque(turns)
    while waiting:
        yield from _on_one_site(waiting, bids, progress)


def _on_one_site(waiting: deque[Turn], bids: int, progress: Progress) -> Outcomes:
    first = waiting[0]
    progress.begin(first.fault.name)
    progress.phase("starts")
    try:
        with site(first.fault.changes, first.fault.disk_mib, first.control) as place:
            verdict = HOLDS
            while waiting and verdict == HOLDS and waiting[0].needs == first.needs:
                turn = waiting[0]
                progress.begin(f"{turn.fault.name}, seed {turn.seed}")
                outcome = play(turn.fault, place, turn.seed, bids, progress)
                verdict = outcome.verdict
                yield waiting.popleft(), outcome
    except FAILURES as error:
        if waiting:
            yield waiting.popleft(), Outcome(trouble=(str(error),), was_played=False)
