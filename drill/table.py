"""The tables that the drill prints."""

from collections.abc import Iterable, Iterator, Sequence

from drill.faults.faults import Fault
from drill.judge import RoundOutcome

HEAD = (
    *("fault", "rounds", "bids", "lost", "reported", "twice", "oversold", "503"),
    *("pause s", "recovery s", "verdict"),
)
_FORMAT = "{:<21} {:>6} {:>6} {:>4} {:>8} {:>5} {:>8} {:>5} {:>7} {:>10}  {}"


def table(outcomes_by_fault: Iterable[tuple[Fault, Sequence[RoundOutcome]]]) -> Iterator[str]:
    """One line per fault; pause and recovery are those of the slowest round."""
    yield _FORMAT.format(*HEAD)
    for fault, outcomes in outcomes_by_fault:
        if outcomes:
            yield _row(fault, outcomes)


def _row(fault: Fault, outcomes: Sequence[RoundOutcome]) -> str:
    return _FORMAT.format(
        fault.name,
        len(outcomes),
        sum(outcome.acknowledged for outcome in outcomes),
        sum(outcome.lost for outcome in outcomes),
        sum(outcome.reported for outcome in outcomes),
        sum(outcome.duplicated for outcome in outcomes),
        sum(outcome.oversold for outcome in outcomes),
        sum(outcome.refused for outcome in outcomes),
        f"{max(outcome.pause_seconds for outcome in outcomes):.1f}",
        f"{max(outcome.recovery_seconds for outcome in outcomes):.1f}",
        " ".join(sorted({outcome.verdict for outcome in outcomes})),
    )


def listed(faults: Sequence[Fault]) -> Iterator[str]:
    """All faults, each with the guard that its control round disables."""
    yield f"{'fault':<21} {'control':<20} description"
    for fault in faults:
        yield f"{fault.name:<21} {fault.control.name:<20} {fault.description}"
        yield f"{'':<21} {'':<20} guard: {fault.control.description}"
