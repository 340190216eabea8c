"""All rounds of one fault: on one site as long as they hold, else on a fresh one."""

from collections import deque
from collections.abc import Generator, Sequence

from drill.faults import Fault
from drill.judge import HOLDS, Outcome
from drill.progress import Progress
from drill.rounds import FAILURES, play
from drill.site import site

# Each seed with what its round came to.
Rounds = Generator[tuple[int, Outcome], None, None]


def outcomes(
    fault: Fault, seeds: Sequence[int], bids: int, progress: Progress, *, as_control: bool = False
) -> Rounds:
    """Play a round for each seed. Close the generator to leave early."""
    waiting = deque(seeds)
    while waiting:
        yield from _on_one_site(fault, waiting, bids, progress, as_control=as_control)


def _on_one_site(
    fault: Fault, waiting: deque[int], bids: int, progress: Progress, *, as_control: bool
) -> Rounds:
    control = fault.control if as_control else None
    progress.begin(fault.name)
    progress.phase("starts")
    try:
        with site(fault.changes, fault.disk_mib, control) as place:
            verdict = HOLDS
            while waiting and verdict == HOLDS:
                progress.begin(f"{fault.name}, seed {waiting[0]}")
                outcome = play(fault, place, waiting[0], bids, progress)
                verdict = outcome.verdict
                yield waiting.popleft(), outcome
    except FAILURES as error:
        if waiting:
            yield waiting.popleft(), Outcome(trouble=(str(error),), was_played=False)
