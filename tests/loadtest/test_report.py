"""The report is one file that stands by itself."""

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loadtest import plots, report
from loadtest.ledger import Recorded, Seen
from loadtest.plan import Plan
from loadtest.plots import Axis, Series
from loadtest.prices import Terms
from loadtest.report import Run, Watched
from loadtest.sale import Sale
from loadtest.verify import Finding, Verdict
from tests.loadtest.bids import attempt

VOID = {"meta", "br"}
REQUESTING = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}


class Page(HTMLParser):
    """Checks that elements nest, and notes what would make a request."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.requests: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.requests += [f"{tag} {name}" for name, _ in attrs if name in REQUESTING]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def run(**fields: Any) -> Run:
    bids = [attempt(intended_at=1000 + n / 20, latency_ms=5 + n % 40) for n in range(400)]
    bids += [attempt(intended_at=1019, kind="session_ended", status=409)]
    bids += [attempt(intended_at=1018, kind="timeout", status=0, latency_ms=5000)]
    samples = [{"at": 1000.0 + n, "members": 5, "in_flight": 2, "cpu": 0.4} for n in range(20)]
    winner = {"rank": 1, "username": "<b>eve</b>", "price": 1234.5, "score": 1.5}
    defaults: dict[str, Any] = {
        "mode": "open",
        "plan": Plan(duration=20),
        "sale": Sale("an-id", 1000.0, 1020.0, 2, Terms(100, 0.5, 1000, 2)),
        "recorded": Recorded(runs=[{"mode": "open"}], attempts=bids, samples=samples),
        "watched": [Watched(1000.0 + n, n % 7, 400.0 + n, 5) for n in range(20)],
        "results": {"winners": [winner], "total_winners": 1, "total_bidders": 9},
        "verdict": Verdict("an-id", [Finding("all is well", 0, [])], ["a note"]),
        "environment": {"CPU": "a <fast> one", "Python": "3"},
        "command": "python -m loadtest flash --host http://127.0.0.1:8000",
    }
    return Run(**defaults | fields)


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_the_page_is_well_formed_and_asks_for_nothing(mode: str) -> None:
    text = report.render(run(mode=mode))
    page = Page(text)
    assert page.open == []
    assert page.requests == []
    assert not page.tags & {"script", "link", "img", "iframe", "object", "use", "image"}
    assert not re.search(r"url\(|@import|@font-face", text)
    assert "://" not in text.replace("http://127.0.0.1:8000", "")


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
            recorded=Recorded(
                runs=[{"mode": "open"}],
                attempts=[attempt(intended_at=1005, accepted_at=at)],
                crowd=crowd,
                seen=[Seen(1004.9, 1005.1, {20: 39, 77: 1})],
            )
        )
    )
    assert Page(text).open == []
    assert "nan" not in text
    for tile in (
        "<b>40</b><span>most watchers",
        "<b>120 ms</b><span>frame lag p50",
        "<b>177 ms</b><span>frame lag, slowest",
        "<b>1</b><span>lost",
        "<b>60</b><span>refused",
    ):
        assert tile in text
    assert "Frame lag: bid accepted to frame seen" in text


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
    text = report.render(run(verdict=verdict, remark="The sale was stopped before its time."))
    assert "7 differences found." in text
    assert "bid 1 &lt;is&gt; lost" in text
    assert "<details open>" in text
    assert "stopped before its time" in text


def test_a_sale_without_a_bid_can_be_reported() -> None:
    nothing = {"winners": [], "total_winners": 0, "total_bidders": 0}
    text = report.render(run(recorded=Recorded(), watched=[], results=nothing))
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
