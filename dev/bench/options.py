"""The command line of the bench."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.bench.generators.generators import HOW_TO_INSTALL_WRK, Wrk
from dev.bench.measures import BASELINE_NAMES, NAMES

EPILOG = f"""\
Measures: {", ".join(NAMES)}.

--baseline holds this checkout against another, whose own .venv `make setup` has made. Its
processes are started as its Procfile says, on servers of their own.

wrk generates the load where it is installed; the bundled generator does otherwise, and
leaves the servers less of the machine. To install wrk: {HOW_TO_INSTALL_WRK}.

The rate limit of members is off (BID_RATE_PER_SECOND=0) in the servers that this starts, but
for one side of metrics-to-none. They get nothing of your environment's settings or .env.
Everything lives in a temporary folder; TMPDIR chooses its disk, and ought to be one: in
memory, a flush costs nothing. Ctrl-C stops cleanly and shows what was measured so far.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and how hard."""

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


# To see that everything works; the sizes are too small for the figures to mean much.
_quick = Options(
    rounds=2,
    seconds=2.0,
    members=500,
    warm_ups=1,
    drain_rows=20_000,
    many_bidders=100_000,
    script_calls=1000,
    close_bids=100_000,
    close_bidders=20_000,
    watchers=200,
    watch_seconds=5.0,
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.bench",
        description="Measures the promises of speed as ratios, side by side on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rounds", type=_at_least_one, metavar="N", help="rounds of each measure; 5 if not said"
    )
    parser.add_argument(
        "--seconds", type=_seconds, metavar="S", help="length of one load over HTTP; 5 if not said"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=NAMES,
        metavar="NAME",
        help="this measure alone; may be given more than once",
    )
    parser.add_argument(
        "--baseline", type=_checkout, metavar="DIR", help="hold this against another checkout, too"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="small and short: does it work?")
    parser.add_argument("--strict", action="store_true", help="a missed bar is an error")
    parser.add_argument("--generator", choices=("wrk", "sockets"), help="what sends the load")
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
    if not 1 <= number <= 30:  # noqa: PLR2004 - a window to measure in, within a generator's timeout
        raise argparse.ArgumentTypeError("from 1 to 30")
    return number
