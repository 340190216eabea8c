"""The report is one file that stands by itself."""

import re
from xml.etree import ElementTree as ET

import pytest

from loadtest.ledger.ledger import LedgerContents, SeenFrames
from loadtest.ledger.verify import Finding, Verdict
from loadtest.report import plots, report
from loadtest.report.plots import Axis, Series
from tests.loadtest.bids import attempt
from tests.loadtest.reports import Page, assert_stands_alone, run


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_the_page_is_well_formed_and_asks_for_nothing(mode: str) -> None:
    assert_stands_alone(report.render(run(mode=mode)), "http://127.0.0.1:8000")


def test_the_page_is_small() -> None:
    assert len(report.render(run())) < 100_000


def test_every_drawing_is_well_formed() -> None:
    drawings = re.findall(r"<svg.*?</svg>", report.render(run()), re.DOTALL)
    assert len(drawings) == 6
    for drawing in drawings:
        assert "nan" not in drawing
        ET.fromstring(drawing)  # noqa: S314 - our own text


def test_watchers_have_their_part_when_there_were_any() -> None:
    assert "Watchers" not in report.render(run())
    at = "1970-01-01T00:16:45.000000+00:00"
    crowd = [
        {
            "at": 1000.0 + n,
            "watching": 40,
            "frames": 200,
            "lost": n == 7,
            "reconnects": 0,
            "refused": 3,
        }
        for n in range(20)
    ]
    text = report.render(
        run(
            recorded=LedgerContents(
                runs=[{"mode": "open"}],
                attempts=[attempt(intended_at=1005, accepted_at=at)],
                crowd=crowd,
                seen=[SeenFrames(1004.9, 1005.1, {20: 39, 77: 1})],
            )
        )
    )
    assert Page(text).open == []
    assert "nan" not in text
    for tile in (
        "<b>40</b><span>watchers, maximum",
        "<b>120 ms</b><span>frame lag p50",
        "<b>177 ms</b><span>frame lag, slowest",
        "<b>1</b><span>lost",
        "<b>60</b><span>refused",
    ):
        assert tile in text
    assert "Frame lag: from accepting a bid to seeing its frame" in text


def test_the_model_is_named() -> None:
    assert "Open model" in report.render(run(mode="open"))
    assert "Closed model" in report.render(run(mode="closed"))


def test_both_schemes_of_colour_are_there() -> None:
    assert "prefers-color-scheme: dark" in report.render(run())


def test_command_environment_and_winners_are_told_and_escaped() -> None:
    text = report.render(run())
    assert "python -m loadtest flash --host http://127.0.0.1:8000" in text
    assert "a &lt;fast&gt; one" in text
    assert "&lt;b&gt;eve&lt;/b&gt;" in text


def test_differences_are_shown_open() -> None:
    verdict = Verdict("an-id", [Finding("a rule", 7, ["bid 1 <is> lost"])])
    text = report.render(run(verdict=verdict, warning="The sale was stopped early."))
    assert "7 differences found." in text
    assert "bid 1 &lt;is&gt; lost" in text
    assert "<details open>" in text
    assert "stopped early" in text


def test_a_sale_without_a_bid_can_be_reported() -> None:
    nothing = {"winners": [], "total_winners": 0, "total_bidders": 0}
    text = report.render(run(recorded=LedgerContents(), service_samples=[], results=nothing))
    assert Page(text).open == []
    assert "nan" not in text


def test_ticks_are_round_numbers_within_the_range() -> None:
    assert plots.ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert plots.ticks(-5, 60, 8) == [0, 10, 20, 30, 40, 50, 60]
    assert plots.ticks(3, 3) == [3]


def test_of_many_points_the_peaks_are_kept() -> None:
    points = [(float(n), 1.0) for n in range(10_000)]
    points[4321] = (4321.0, 99.0)
    drawing = plots.line_plot([Series("x", points, 0)], Axis(0, 10_000), "")
    assert len(drawing) < 30_000
    assert f",{plots.TOP + 0.05 / 1.05 * (plots.HEIGHT - plots.TOP - plots.BOTTOM):.1f}" in drawing


def test_a_plot_shows_the_values_of_the_second_that_is_pointed_at() -> None:
    series = [Series("one", [(3.0, 7.5), (4.0, 8.0)], 0), Series("two", [(3.0, 2.0)], 1)]
    drawing = ET.fromstring(  # noqa: S314 - our own text
        re.findall(r"<svg.*?</svg>", plots.line_plot(series, Axis(0, 10), "ms"), re.DOTALL)[0]
    )
    titles = [each.text for each in drawing.iter("title")]
    assert titles == ["3 s\none: 7.5\ntwo: 2", "4 s\none: 8"]


def test_many_seconds_share_a_column_that_shows_the_highest() -> None:
    points = [(float(n), float(n % 7)) for n in range(1000)]
    drawing = plots.bar_plot([Series("x", points, 0)], Axis(0, 1000), "")
    titles = re.findall(r"<title>(.*?)</title>", drawing, re.DOTALL)
    assert len(titles) == plots.MAX_COLUMNS
    assert titles[0] == "0 to 9 s\nx: 6"
