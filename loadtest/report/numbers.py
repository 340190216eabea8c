"""The figures of a run for programs: figures.json and seconds.csv beside the report."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import StringIO
from math import isnan
from pathlib import Path
from typing import Any

from loadtest.ledger import figures
from loadtest.ledger.figures import Latency, Second, Totals
from loadtest.ledger.ledger import Attempt
from loadtest.ledger.verify import Finding
from loadtest.report.report import Run

FIGURES, SECONDS = "figures.json", "seconds.csv"
_COLUMNS = ("second", "offered", "accepted", "p50_ms", "p99_ms", "slowest_ms", "not_confirmed")


def write(run: Run, folder: Path) -> None:
    """Write both files. Latencies are in milliseconds, null where nothing was measured."""
    by_second = figures.seconds(run.recorded.attempts, run.sale.start)
    total = figures.totals(run.recorded.attempts, by_second)
    text = json.dumps(summary(run, total), indent=2, allow_nan=False)
    (folder / FIGURES).write_text(text + "\n", encoding="utf-8")
    (folder / SECONDS).write_text(_seconds(by_second), encoding="utf-8")


def summary(run: Run, total: Totals) -> dict[str, Any]:
    """The totals, and what they were measured with."""
    options = run.plan.options()
    return {
        "session_id": run.sale.session_id,
        "mode": run.mode,
        "holds": run.verdict.holds,
        "requests": total.attempts,
        "accepted": total.accepted,
        "best_second": total.best_second,
        "errors": total.errors,
        "latency_ms": _latency(total.latency),
        "largest_backlog": max((each.backlog or 0 for each in run.service_samples), default=0),
        "kinds": dict(total.kinds.most_common()),
        "winners": run.results["total_winners"],
        "bidders": run.results["total_bidders"],
        "options": dict(zip(options[::2], options[1::2], strict=True)),
        "environment": dict(run.environment),
    }


def agreement(attempts: Sequence[Attempt], start: float) -> Finding:
    """Whether the seconds of the plots add up to the totals."""
    by_second = figures.seconds(attempts, start)
    return _agreement(figures.totals(attempts, by_second), by_second)


def _agreement(total: Totals, by_second: Sequence[Second]) -> Finding:
    confirmed = total.attempts - sum(each.errors.total() for each in by_second)
    sums = {
        "requests": (sum(each.offered for each in by_second), total.attempts),
        "accepted bids": (sum(each.achieved for each in by_second), total.accepted),
        "latencies": (sum(each.latency.count for each in by_second), total.attempts),
        "confirmed bids": (confirmed, total.accepted + total.kinds["replayed"]),
    }
    differing = [
        f"{name}: {found} in the seconds, {whole} in total"
        for name, (found, whole) in sums.items()
        if found != whole
    ]
    return Finding("the report's seconds add up to its totals", len(differing), differing)


def _seconds(by_second: Sequence[Second]) -> str:
    lines = StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_rows(by_second))
    return lines.getvalue()


def _rows(by_second: Sequence[Second]) -> Iterator[tuple[Any, ...]]:
    for each in by_second:
        latency = _latency(each.latency)
        measured = (latency["p50"], latency["p99"], latency["slowest"])
        yield each.at, each.offered, each.achieved, *measured, each.errors.total()


def _latency(latency: Latency) -> dict[str, Any]:
    """JSON has no nan."""
    return {
        name: None if isnan(value) else round(value, 3) for name, value in asdict(latency).items()
    }
