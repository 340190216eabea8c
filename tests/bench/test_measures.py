"""Ratios and verdicts, from figures that a person can check."""

import pytest

from dev.bench.measures import MEASURES, Figures, Measure, result_of
from dev.bench.report import table

FLOOR = Measure("m", "a ÷ b", "a", "b", 0.5, at_least=True)
CEILING = Measure("m", "a ÷ b", "a", "b", 0.5, at_least=False)


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


def test_a_failed_check_is_remembered() -> None:
    found = Figures()
    found.check(True, "all is well")
    found.check(False, "two and two are five")
    assert found.failures == ["two and two are five"]


def test_every_measure_has_a_name_of_its_own() -> None:
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)
