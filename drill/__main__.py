"""`make drill`: every fault on a fresh stack, and a table of what it came to."""

import argparse
import secrets
import signal
import sys
import time
from types import FrameType

from drill import table
from drill.faults import BY_NAME, FAULTS, Fault
from drill.rounds import Outcome, play

DEFAULT_BIDS = 1000


def main(arguments: list[str] | None = None) -> int:
    """0 when every round held; with --control, when every round failed."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(table.listed(FAULTS)))
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    chosen = [BY_NAME[name] for name in options.fault] if options.fault else list(FAULTS)
    if options.control:
        chosen = [fault for fault in chosen if fault.control]
    print(f"Seed {options.seed}. Ctrl-C stops.", flush=True)
    played: list[tuple[Fault, list[Outcome]]] = []
    try:
        for fault in chosen:
            rounds = range(options.rounds)
            played.append((fault, [_round(fault, number, options) for number in rounds]))
    except KeyboardInterrupt:
        sys.stderr.write("\ndrill: stopped.\n")
        return 130
    print("\n" + "\n".join(table.table(played)))
    good = [o.verdict == "holds" for _, outcomes in played for o in outcomes]
    return int(any(good) if options.control else not all(good))


def _round(fault: Fault, number: int, options: argparse.Namespace) -> Outcome:
    seed = options.seed + number
    started = time.monotonic()
    outcome = play(fault, seed, options.bids, fault.control if options.control else None)
    print(
        f"{fault.name:<22} round {number + 1}/{options.rounds} seed {seed}:"
        f" {outcome.acknowledged} bids, {outcome.verdict},"
        f" recovered in {outcome.recovery_seconds:.1f} s"
        f" ({time.monotonic() - started:.0f} s)",
        flush=True,
    )
    for sentence in outcome.trouble:
        print(f"    - {sentence if options.verbose else sentence.splitlines()[0]}", flush=True)
    return outcome


def _interrupt(_number: int, _frame: FrameType | None) -> None:
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
        "--control", action="store_true", help="with each fault's guard off: all must fail"
    )
    parser.add_argument("--verbose", action="store_true", help="with the processes' logs")
    parser.add_argument("--list", action="store_true", help="the faults and their guards")
    return parser


if __name__ == "__main__":
    sys.exit(main())
