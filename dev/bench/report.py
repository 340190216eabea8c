"""Formats the figures as a table and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dev.bench.measures import Figures, Result, Spread

# Prefix of CPU-time series.
CPU_PREFIX = "cpu µs/"
HEADINGS = ("measure", "numerator", "denominator", "ratio (min to max)", "bar", "met?")


def table(results: Sequence[Result]) -> str:
    """One line per measure."""
    lines = [HEADINGS, *(_cells(result) for result in results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    texts = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([texts[0], rule, *texts[1:]])


def cpu_lines(figures: Figures) -> list[str]:
    """The CPU time of a bid and of an echo, by process."""
    return [
        f"  {name.removeprefix(CPU_PREFIX):<24} {figures.median(name):>6.0f} µs"
        for name in sorted(figures.series)
        if name.startswith(CPU_PREFIX)
    ]


def write_json(
    path: Path, environment: dict[str, Any], results: Sequence[Result], figures: Figures
) -> None:
    report = {
        "environment": environment,
        "measures": [_json_of(result) for result in results],
        "series": figures.series,
        "failures": figures.failures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n")


def _cells(result: Result) -> tuple[str, ...]:
    measure = result.measure
    below = measure.denominator and result.denominator
    return (
        measure.name,
        f"{_number(result.numerator.median)} {measure.numerator}",
        f"{_number(below.median)} {measure.denominator}" if below else "",
        _spread(result.ratio),
        measure.bar_text,
        _verdict(result),
    )


def _verdict(result: Result) -> str:
    if result.measure.bar is None:
        return "reported only"
    met = "yes" if result.is_met else "NO"
    return met if result.measure.is_judged else f"{met} (reported only)"


def _spread(spread: Spread) -> str:
    return (
        f"{_number(spread.median)} ({_number(spread.low)} to {_number(spread.high)},"
        f" n={spread.count})"
    )


def _number(value: float) -> str:
    """Three significant digits, or a whole number."""
    if value >= 100:  # noqa: PLR2004 - whole numbers from here on
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - the same


def _json_of(result: Result) -> dict[str, Any]:
    measure = result.measure
    return {
        "name": measure.name,
        "title": measure.title,
        "numerator": {"name": measure.numerator, **asdict(result.numerator)},
        "denominator": result.denominator
        and {"name": measure.denominator, **asdict(result.denominator)},
        "ratio": asdict(result.ratio),
        "bar": measure.bar_text,
        "met": result.is_met,
        "judged": measure.is_judged,
    }
