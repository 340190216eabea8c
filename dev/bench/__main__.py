"""Runs the bench: `python -m dev.bench --help`."""

import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import structlog

from core.config import ConfigError
from dev.bench import environment, own_lines, report
from dev.bench.generators.generators import (
    HOW_TO_INSTALL_WRK,
    Generator,
    GeneratorBroken,
    Sockets,
    Wrk,
)
from dev.bench.measures import BASELINE_NAMES, MEASURES, NAMES, Figures, Result, result_of
from dev.bench.options import Options, parse
from dev.bench.runs.baseline import BaselineRuns
from dev.bench.runs.batches import BatchRuns
from dev.bench.runs.close import CloseRuns
from dev.bench.runs.cluster import ClusterRuns
from dev.bench.runs.drain import DrainRuns
from dev.bench.runs.export import ExportRuns
from dev.bench.runs.script import ScriptRuns
from dev.bench.servers.stack import BenchServers, http_stack, servers, temporary_folder
from dev.errors import DevError
from dev.signals import STOP_SIGNALS

# The measures to which each run contributes.
MEASURES_BY_RUN = {
    "bids": {
        *("bids-to-echo", "bids-to-asgi-echo", "web-cpu-to-echo"),
        *("jobs-per-1000-bids", "drain-to-bids", "bid-p99"),
    },
    "latency": {"bid-p99"},
    "fsync": {"always-to-everysec"},
    "metrics": {"metrics-to-none"},
    "headers": {"browser-headers"},
    "batches": {"batches-to-singles"},
    "nginx": {"nginx-to-keepalive"},
    "cluster": {"cluster-to-one"},
    "board": {"board-to-echo"},
    "watchers": {"watchers-to-none", "frame-lag-p99", "watcher-memory"},
    "baseline": BASELINE_NAMES,
    "drain": {"drain-to-insert", "drain-to-bids"},
    "script": {"script-growth"},
    "batch sizes": {"batches-to-singles"},
    "close": {"close-to-sql", "close-priced-to-plain"},
    "export": {"export-to-copy", "export-memory"},
    "lines": {"own-lines"},
}
HTTP_RUNS = (
    *("bids", "latency", "fsync", "metrics", "headers", "batches", "nginx"),
    *("cluster", "board", "watchers", "baseline"),
)
OTHER_RUNS = (
    ("drain", DrainRuns),
    ("script", ScriptRuns),
    ("batch sizes", BatchRuns),
    ("close", CloseRuns),
    ("export", ExportRuns),
)


class _HttpRuns(BaselineRuns, ClusterRuns):
    """All HTTP runs on one stack."""


def main() -> int:
    """Exit code 0 when every check held and, with --strict, every bar was met."""
    options = parse()
    _stop_once()
    _silence_info_logs()
    figures, found = Figures(), dict[str, Any]()
    interrupted = False
    try:
        _measure(options, figures, found)
    except KeyboardInterrupt:
        print("\nInterrupted. Figures so far:", flush=True)
        interrupted = True
    except (ConfigError, DevError, GeneratorBroken) as error:
        figures.check(holds=False, sentence=str(error))
    results = [
        result
        for measure in MEASURES
        if not options.only or measure.name in options.only
        if (result := result_of(measure, figures)) is not None
    ]
    _show(options, figures, found, results)
    if interrupted:
        return 130
    missed = any(not result.is_met for result in results if result.measure.is_judged)
    return int(bool(figures.failures) or (options.strict and missed))


def _measure(options: Options, figures: Figures, found: dict[str, Any]) -> None:
    runs = [name for name, serves in MEASURES_BY_RUN.items() if _is_wanted(serves, options)]
    if "lines" in runs:
        figures.add("own lines", own_lines.count())
    with temporary_folder() as folder:
        _say("Starting PostgreSQL and Redis")
        with servers(folder) as started:
            found |= environment.describe(started, options)
            _measure_http(started, figures, options, runs)
            for name, make in OTHER_RUNS:
                if name in runs:
                    _say(f"Measuring: {name}")
                    make(started, figures, options).run()
            _say("Stopping")


def _is_wanted(serves: set[str], options: Options) -> bool:
    names = set(options.only) or set(NAMES)
    if options.baseline is None:
        names -= BASELINE_NAMES
    return bool(serves & names)


def _measure_http(
    started: BenchServers, figures: Figures, options: Options, runs: Sequence[str]
) -> None:
    wanted = [name for name in HTTP_RUNS if name in runs]
    if not wanted:
        return
    _say("Starting the web servers and the worker")
    with http_stack(started) as stack:
        http = _HttpRuns(started, stack, _generator(options), figures, options)
        for name in wanted:
            _say(f"Measuring: {name}")
            run: Callable[[], None] = getattr(http, name)
            run()


def _generator(options: Options) -> Generator:
    if options.generator == "wrk":
        return Wrk()
    if not Wrk.is_installed():
        print(f"wrk is not installed; using the bundled generator. {HOW_TO_INSTALL_WRK}")
    return Sockets()


def _show(
    options: Options, figures: Figures, found: dict[str, Any], results: Sequence[Result]
) -> None:
    if results:
        print(f"\n{report.table(results)}\n")
    lines = report.cpu_lines(figures)
    if lines:
        print("CPU time of one request, by kind of process:", *lines, "", sep="\n")
    for failure in figures.failures:
        print(f"FAILED: {failure}")
    if options.json_path is not None:
        report.write_json(options.json_path, found, results, figures)
        print(f"All figures are in {options.json_path}.")


def _stop_once() -> None:
    """Stop at the first Ctrl-C or SIGTERM, and ignore further ones during clean-up."""

    def stop(_signum: int, _frame: FrameType | None) -> None:
        for signum in STOP_SIGNALS:
            signal.signal(signum, signal.SIG_IGN)
        raise KeyboardInterrupt

    for signum in STOP_SIGNALS:
        signal.signal(signum, stop)


def _silence_info_logs() -> None:
    """Keep core's log lines out of the progress lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))


def _say(text: str) -> None:
    print(f"{text} ...", flush=True)


if __name__ == "__main__":
    sys.exit(main())
