"""The tables that the drill prints."""

from collections.abc import Iterator, Sequence

from drill.faults import Fault
from drill.rounds import Outcome

HEAD = ("fault", "rounds", "bids", "lost", "reported", "twice", "503", "recovery s", "verdict")
_FORMAT = "{:<22} {:>6} {:>7} {:>5} {:>8} {:>5} {:>6} {:>10}  {}"


def table(played: Sequence[tuple[Fault, Sequence[Outcome]]]) -> Iterator[str]:
    """One line a fault; recovery is that of the slowest round."""
    yield _FORMAT.format(*HEAD)
    for fault, outcomes in played:
        yield _FORMAT.format(
            fault.name,
            len(outcomes),
            sum(outcome.acknowledged for outcome in outcomes),
            sum(outcome.lost for outcome in outcomes),
            sum(outcome.reported for outcome in outcomes),
            sum(outcome.duplicated for outcome in outcomes),
            sum(outcome.refused for outcome in outcomes),
            f"{max(outcome.recovery_seconds for outcome in outcomes):.1f}",
            " ".join(sorted({outcome.verdict for outcome in outcomes})),
        )


def listed(faults: Sequence[Fault]) -> Iterator[str]:
    """What there is to choose from."""
    yield f"{'fault':<22} {'control':<22} what happens"
    for fault in faults:
        yield f"{fault.name:<22} {fault.control or 'none':<22} {fault.words}"
