"""The command line of the bench."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.bench.generators.generators import HOW_TO_INSTALL_WRK, Wrk
from dev.bench.measures import BASELINE_NAMES, NAMES

EPILOG = f"""\
Measures: {", ".join(NAMES)}.

--baseline compares this checkout with another one, which needs its own .venv (`make setup`).
Its processes are started from its Procfile, on separate servers.

wrk generates the load if it is installed, else the bundled generator, which leaves less CPU
to the servers. To install wrk: {HOW_TO_INSTALL_WRK}.

The members' rate limit is off (BID_RATE_PER_SECOND=0), except on one side of metrics-to-none.
The started processes ignore your environment's settings and .env. All files are in a temporary
folder; set TMPDIR to a folder on a disk, because in memory a flush costs nothing. Ctrl-C stops
cleanly and shows the figures so far.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """The measures to take, and the size of the loads."""

    rounds: int = 5
    seconds: float = 5.0
    only: tuple[str, ...] = ()
    json_path: Path | None = None
    strict: bool = False
    baseline: Path | None = None
    generator: str = "wrk"
    members: int = 4000
    warm_ups: int = 2
    drain_rows: int = 50_000
    many_bidders: int = 1_000_000
    script_calls: int = 5000
    close_bids: int = 1_000_000
    close_bidders: int = 200_000
    watchers: int = 2000
    watch_seconds: float = 60.0


def parse(arguments: Sequence[str] | None = None) -> Options:
    parser = _parser()
    given = parser.parse_args(arguments)
    only = tuple(given.only or ())
    if given.baseline is None and set(only) & BASELINE_NAMES:
        parser.error("that measure needs --baseline DIR")
    options = _quick if given.quick else Options()
    return Options(
        rounds=given.rounds or options.rounds,
        seconds=given.seconds or options.seconds,
        only=only,
        json_path=given.json,
        strict=given.strict,
        baseline=given.baseline,
        generator="wrk" if given.generator != "sockets" and Wrk.is_installed() else "sockets",
        members=options.members,
        warm_ups=options.warm_ups,
        drain_rows=options.drain_rows,
        many_bidders=options.many_bidders,
        script_calls=options.script_calls,
        close_bids=options.close_bids,
        close_bidders=options.close_bidders,
        watchers=options.watchers,
        watch_seconds=options.watch_seconds,
    )


# A smoke test: too small for meaningful figures.
_quick = Options(
    rounds=2,
    seconds=2.0,
    # So many that a member's next bid comes a second later: two at once could overtake each
    # other, and the lower one would be refused.
    members=2000,
    warm_ups=1,
    drain_rows=20_000,
    many_bidders=100_000,
    script_calls=1000,
    close_bids=20_000,
    close_bidders=4_000,
    watchers=200,
    watch_seconds=2.0,
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.bench",
        description="Measures the performance promises as ratios, side by side on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rounds", type=_at_least_one, metavar="N", help="rounds of each measure (5)"
    )
    parser.add_argument(
        "--seconds", type=_seconds, metavar="S", help="seconds of each HTTP load (5)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=NAMES,
        metavar="NAME",
        help="take only this measure; repeatable",
    )
    parser.add_argument(
        "--baseline", type=_checkout, metavar="DIR", help="compare with another checkout"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="small and short, as a smoke test")
    parser.add_argument(
        "--strict", action="store_true", help="exit with an error if a bar is missed"
    )
    parser.add_argument("--generator", choices=("wrk", "sockets"), help="the load generator")
    return parser


def _checkout(text: str) -> Path:
    folder = Path(text).resolve()
    for needed in ("Procfile", ".venv/bin/python"):
        if not (folder / needed).exists():
            raise argparse.ArgumentTypeError(f"{folder} has no {needed}")
    return folder


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 1 <= number <= 30:  # noqa: PLR2004 - within a generator's timeout
        raise argparse.ArgumentTypeError("from 1 to 30")
    return number
