"""`compare`: the figures of two runs side by side."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.report.numbers import FIGURES

_SHOWN = ("requests", "accepted", "best_second", "errors", "largest_backlog", "winners", "bidders")
_LATENCIES = ("p50", "p99", "slowest")

Figures = Mapping[str, Any]


def compare(before: Path, after: Path) -> list[str]:
    """Lines of text: what differed in the set-up, and each figure with its ratio."""
    first, second = read(before), read(after)
    rows = [("", "before", "after", "ratio"), *_rows(first, second)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [*_differences(first, second), *table]


def read(place: Path) -> Figures:
    """The figures of a report's folder, or of the file itself."""
    path = place / FIGURES if place.is_dir() else place
    try:
        found: Figures = json.loads(path.read_text(encoding="utf-8"))
        _ = found["latency_ms"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise LoadTestError(f"{path} has no figures of a run: {error}") from None
    return found


def _rows(first: Figures, second: Figures) -> Iterator[tuple[str, str, str, str]]:
    for name in _SHOWN:
        yield _row(name.replace("_", " "), first[name], second[name])
    for name in _LATENCIES:
        yield _row(f"{name} ms", first["latency_ms"][name], second["latency_ms"][name])


def _row(name: str, before: float | None, after: float | None) -> tuple[str, str, str, str]:
    ratio = f"{after / before:.2f}" if before and after is not None else ""
    return name, _number(before), _number(after), ratio


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:,.10g}"


def _differences(first: Figures, second: Figures) -> Iterator[str]:
    """Why a comparison may not say what it seems to."""
    for figures, name in ((first, "before"), (second, "after")):
        if not figures["holds"]:
            yield f"! The run {name} failed its verification."
    if first["mode"] != second["mode"]:
        yield f"! Different models: {first['mode']}, {second['mode']}."
    for part in ("options", "environment"):
        for name in sorted(first[part].keys() | second[part].keys()):
            before, after = first[part].get(name), second[part].get(name)
            if before != after:
                yield f"! {name}: {before}, {after}"
