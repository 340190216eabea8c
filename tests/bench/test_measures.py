"""Ratios and verdicts, from figures that a person can check."""

import pytest

from core.config import PROJECT_ROOT
from dev.bench.__main__ import HTTP_RUNS, MEASURES_BY_RUN, OTHER_RUNS
from dev.bench.measures import MEASURES, NAMES, Figures, Measure, result_of
from dev.bench.report import table

FLOOR = Measure("m", "a ÷ b", "a", "b", 0.5, at_least=True)
CEILING = Measure("m", "a ÷ b", "a", "b", 0.5, at_least=False)
NO_BAR = Measure("m", "a ÷ b", "a", "b", None, at_least=True, is_judged=False)
BARS = {
    "bids-to-echo": ">= 2.5",
    "bids-to-asgi-echo": ">= 0.25",
    "web-cpu-to-echo": "<= 0.2",
    "browser-headers": ">= 0.85",
    "batches-to-singles": "<= 0.6",
    "nginx-to-keepalive": "none",
    "jobs-per-1000-bids": "<= 5",
    "drain-to-insert": ">= 0.6",
    "drain-to-bids": ">= 5",
    "script-growth": "<= 1.3",
    "board-to-echo": ">= 3",
    "always-to-everysec": ">= 0.85",
    "metrics-to-none": ">= 0.95",
    "cluster-to-one": ">= 0.7",
    "close-to-sql": "<= 2",
    "close-priced-to-plain": "<= 1.3",
    "export-to-copy": "<= 3",
    "export-memory": "<= 64 MiB",
    "bid-p99": "<= 15 ms",
    "watchers-to-none": ">= 0.75",
    "frame-lag-p99": "<= 500 ms",
    "watcher-memory": "<= 64 KiB",
    "own-lines": "<= 1000",
    "bids-to-baseline": "none",
    "p99-to-baseline": "none",
    "watched-to-baseline": "none",
}


def figures(**series: list[float]) -> Figures:
    return Figures(series=series)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    result = result_of(FLOOR, figures(a=[1.0, 4.0, 9.0], b=[2.0, 4.0, 10.0]))
    assert (result.ratio.low, result.ratio.median, result.ratio.high) == (0.5, 0.9, 1.0)
    assert (result.numerator.median, result.denominator.median) == (4.0, 4.0)


def test_a_round_cut_short_does_not_count() -> None:
    result = result_of(FLOOR, figures(a=[1.0, 100.0], b=[2.0]))
    assert result.ratio.count == 1


def test_nothing_measured_gives_no_result() -> None:
    assert result_of(FLOOR, figures(a=[1.0])) is None
    assert result_of(FLOOR, figures()) is None


@pytest.mark.parametrize(
    ("measure", "ratio", "met"),
    [
        (FLOOR, 0.5, True),
        (FLOOR, 0.49, False),
        (CEILING, 0.5, True),
        (CEILING, 0.51, False),
    ],
)
def test_a_bar_is_met_up_to_the_bar_itself(measure: Measure, ratio: float, met: bool) -> None:
    assert result_of(measure, figures(a=[ratio], b=[1.0])).is_met is met


def test_the_table_shows_a_missed_bar_as_missed() -> None:
    [_, _, line] = table([result_of(FLOOR, figures(a=[1.0], b=[4.0]))]).splitlines()
    assert line.split()[0] == "m"
    assert line.endswith(">= 0.5  NO")


def test_without_a_bar_a_ratio_is_only_reported() -> None:
    result = result_of(NO_BAR, figures(a=[1.0], b=[4.0]))
    assert result.is_met
    [_, _, line] = table([result]).splitlines()
    assert line.endswith("none  reported only")


def test_a_failed_check_is_remembered() -> None:
    found = Figures()
    found.check(True, "all is well")
    found.check(False, "two and two are five")
    assert found.failures == ["two and two are five"]


def test_each_measure_has_its_bar_and_a_name_of_its_own() -> None:
    assert {measure.name: measure.bar_text for measure in MEASURES} == BARS
    assert len(MEASURES) == len(BARS)


def test_each_measure_is_served_by_a_run_and_told_in_the_manual() -> None:
    assert set().union(*MEASURES_BY_RUN.values()) == set(NAMES)
    runs = {*HTTP_RUNS, *(name for name, _ in OTHER_RUNS), "lines"}
    assert runs == set(MEASURES_BY_RUN)
    manual = (PROJECT_ROOT / "docs" / "explanation" / "benchmark.md").read_text()
    assert [name for name in NAMES if f"| `{name}` |" not in manual] == []
