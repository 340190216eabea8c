"""`make drill`: injects every fault into the real processes and prints a table of outcomes."""

import argparse
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from types import FrameType

from drill import table
from drill.campaign import PlannedRound, outcomes
from drill.faults.faults import BY_NAME, FAULTS, Fault
from drill.judge import HOLDS, NOT_RUN, RoundOutcome
from drill.progress import DrillProgress

DEFAULT_BIDS = 1000
INTERRUPTED = 130
MAX_NUMBER = 10**9

OutcomesByFault = dict[Fault, list[RoundOutcome]]


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every round held; with --control, when every round did damage."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(table.listed(FAULTS)))
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    print(f"Seed {options.seed}. Ctrl-C stops.", flush=True)
    outcomes_by_fault: OutcomesByFault = {}
    is_stopped = _run_all(options, outcomes_by_fault)
    print("\n" + "\n".join(table.table(outcomes_by_fault.items())))
    if is_stopped:
        sys.stderr.write("drill: interrupted.\n")
        return INTERRUPTED
    bad = list(bad_rounds(outcomes_by_fault, as_control=options.control))
    print("\n".join(bad))
    return int(bool(bad))


def _run_all(options: argparse.Namespace, outcomes_by_fault: OutcomesByFault) -> bool:
    """Fill in the outcomes of each fault; True when interrupted."""
    try:
        with DrillProgress() as progress:
            for planned_rounds in _campaigns(options):
                _run_planned(planned_rounds, options, progress, outcomes_by_fault)
    except KeyboardInterrupt:
        return True
    return False


def _campaigns(options: argparse.Namespace) -> list[list[PlannedRound]]:
    """The rounds to run; those in one list may share a stack."""
    chosen = [BY_NAME[name] for name in options.fault] if options.fault else FAULTS
    seeds = range(options.seed, options.seed + options.rounds)
    by_fault = [[PlannedRound(fault, seed, options.control) for seed in seeds] for fault in chosen]
    return [list(chain.from_iterable(by_fault))] if options.shared_stack else by_fault


def _run_planned(
    planned_rounds: list[PlannedRound],
    options: argparse.Namespace,
    progress: DrillProgress,
    outcomes_by_fault: OutcomesByFault,
) -> None:
    began_at = time.monotonic()
    with closing(outcomes(planned_rounds, options.bids, progress)) as rounds:
        for planned, outcome in rounds:
            now = time.monotonic()
            outcomes_by_fault.setdefault(planned.fault, []).append(outcome)
            number = f"{len(outcomes_by_fault[planned.fault])}/{options.rounds}"
            progress.print_line(
                f"{planned.fault.name:<21} round {number} seed {planned.seed}:"
                f" {outcome.acknowledged} bids, {outcome.verdict},"
                f" recovered in {outcome.recovery_seconds:.1f} s ({now - began_at:.0f} s)"
            )
            began_at = now
            for note in outcome.notes:
                progress.print_line(f"    {note}")
            for sentence in outcome.problems:
                progress.print_line(
                    f"    - {sentence if options.verbose else sentence.splitlines()[0]}"
                )


def bad_rounds(outcomes_by_fault: OutcomesByFault, *, as_control: bool) -> Iterator[str]:
    """One sentence per fault with bad rounds: damage, or in control rounds no damage."""
    for fault, rounds in outcomes_by_fault.items():
        verdicts = [outcome.verdict for outcome in rounds]
        bad = {HOLDS, NOT_RUN} if as_control else set(verdicts) - {HOLDS}
        count = sum(verdict in bad for verdict in verdicts)
        if count and as_control:
            yield f"{fault.name}: {count} rounds without the guard did no damage."
        elif count:
            yield f"{fault.name}: {count} of {len(verdicts)} rounds did not hold."


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Ignore further signals, so that the clean-up is not interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m drill", description=__doc__)
    parser.add_argument("--fault", nargs="*", choices=sorted(BY_NAME), help="faults to run (all)")
    parser.add_argument(
        "--rounds", type=_count, default=1, help="rounds of each fault (%(default)s)"
    )
    parser.add_argument(
        "--bids",
        type=_count,
        default=DEFAULT_BIDS,
        help="accepted bids in each round (%(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=_whole_number,
        default=secrets.randbelow(10**6),
        help="repeats the same random choices",
    )
    parser.add_argument(
        "--control",
        action="store_true",
        help="switch each fault's guard off: every round must do damage",
    )
    parser.add_argument(
        "--shared-stack", action="store_true", help="run all faults on one stack while they hold"
    )
    parser.add_argument("--verbose", action="store_true", help="show the processes' logs")
    parser.add_argument("--list", action="store_true", help="list the faults and their guards")
    return parser


def _whole_number(text: str) -> int:
    if not (text.isdecimal() and len(text) <= len(str(MAX_NUMBER)) and int(text) <= MAX_NUMBER):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {MAX_NUMBER}")
    return int(text)


def _count(text: str) -> int:
    if _whole_number(text) == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
