"""`make drill`: every fault on the real processes, and a table of what it came to."""

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
from drill.campaign import Turn, outcomes
from drill.faults.faults import BY_NAME, FAULTS, Fault
from drill.judge import HOLDS, NOT_PLAYED, Outcome
from drill.progress import Progress

DEFAULT_BIDS = 1000
INTERRUPTED = 130

Played = dict[Fault, list[Outcome]]


def main(arguments: list[str] | None = None) -> int:
    """0 when every round held; with --control, when every round did harm."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(table.listed(FAULTS)))
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    print(f"Seed {options.seed}. Ctrl-C stops.", flush=True)
    played: Played = {}
    is_stopped = _play(options, played)
    print("\n" + "\n".join(table.table(played.items())))
    if is_stopped:
        sys.stderr.write("drill: stopped before its end.\n")
        return INTERRUPTED
    bad = list(bad_rounds(played, as_control=options.control))
    print("\n".join(bad))
    return int(bool(bad))


def _play(options: argparse.Namespace, played: Played) -> bool:
    """Fill in what each fault came to; True when somebody stopped it."""
    try:
        with Progress() as progress:
            for turns in _campaigns(options):
                _play_turns(turns, options, progress, played)
    except KeyboardInterrupt:
        return True
    return False


def _campaigns(options: argparse.Namespace) -> list[list[Turn]]:
    """The rounds to be played; those in one list may share a stack."""
    chosen = [BY_NAME[name] for name in options.fault] if options.fault else FAULTS
    seeds = range(options.seed, options.seed + options.rounds)
    by_fault = [[Turn(fault, seed, options.control) for seed in seeds] for fault in chosen]
    return [list(chain.from_iterable(by_fault))] if options.shared_stack else by_fault


def _play_turns(
    turns: list[Turn], options: argparse.Namespace, progress: Progress, played: Played
) -> None:
    began_at = time.monotonic()
    with closing(outcomes(turns, options.bids, progress)) as rounds:
        for turn, outcome in rounds:
            now = time.monotonic()
            played.setdefault(turn.fault, []).append(outcome)
            number = f"{len(played[turn.fault])}/{options.rounds}"
            progress.say(
                f"{turn.fault.name:<21} round {number} seed {turn.seed}:"
                f" {outcome.acknowledged} bids, {outcome.verdict},"
                f" recovered in {outcome.recovery_seconds:.1f} s ({now - began_at:.0f} s)"
            )
            began_at = now
            for sentence in outcome.trouble:
                progress.say(f"    - {sentence if options.verbose else sentence.splitlines()[0]}")


def bad_rounds(played: Played, *, as_control: bool) -> Iterator[str]:
    """What must not be: harm; in a control round, none."""
    for fault, rounds in played.items():
        verdicts = [outcome.verdict for outcome in rounds]
        bad = {HOLDS, NOT_PLAYED} if as_control else set(verdicts) - {HOLDS}
        count = sum(verdict in bad for verdict in verdicts)
        if count and as_control:
            yield f"{fault.name}: the drill saw no harm in {count} rounds without the guard."
        elif count:
            yield f"{fault.name}: {count} of {len(verdicts)} rounds did not hold."


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Once: what is up now must be taken down in peace."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m drill", description=__doc__)
    parser.add_argument("--fault", nargs="*", choices=sorted(BY_NAME), help="these; else all")
    parser.add_argument("--rounds", type=int, default=1, help="of each fault (%(default)s)")
    parser.add_argument(
        "--bids", type=int, default=DEFAULT_BIDS, help="acknowledged in each round (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**6), help="the same chance again"
    )
    parser.add_argument(
        "--control", action="store_true", help="with each fault's guard off: all must do harm"
    )
    parser.add_argument(
        "--shared-stack", action="store_true", help="all faults on one stack, while they hold"
    )
    parser.add_argument("--verbose", action="store_true", help="with the processes' logs")
    parser.add_argument("--list", action="store_true", help="the faults and their guards")
    return parser


if __name__ == "__main__":
    sys.exit(main())
