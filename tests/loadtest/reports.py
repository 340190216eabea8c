"""Runs to report on, and pages that need no other."""

import re
from html.parser import HTMLParser
from typing import Any

from loadtest.ledger.ledger import LedgerContents
from loadtest.ledger.verify import Finding, Verdict
from loadtest.report.report import Run, ServiceSample
from loadtest.sale.plan import LoadPlan
from loadtest.sale.prices import PricingTerms
from loadtest.sale.sale import SaleSession
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


def assert_stands_alone(text: str, *shown: str) -> None:
    """Well-formed, and without anything that makes a request; `shown` addresses are only text."""
    page = Page(text)
    assert page.open == []
    assert page.requests == []
    assert not page.tags & {"script", "link", "img", "iframe", "object", "use", "image"}
    assert not re.search(r"url\(|@import|@font-face", text)
    for address in shown:
        text = text.replace(address, "")
    assert "://" not in text


def run(**fields: Any) -> Run:
    bids = [attempt(intended_at=1000 + n / 20, latency_ms=5 + n % 40) for n in range(400)]
    bids += [attempt(intended_at=1019, kind="session_ended", status=409)]
    bids += [attempt(intended_at=1018, kind="timeout", status=0, latency_ms=5000)]
    samples = [{"at": 1000.0 + n, "members": 5, "in_flight": 2, "cpu": 0.4} for n in range(20)]
    winner = {"rank": 1, "username": "<b>eve</b>", "price": 1234.5, "score": 1.5}
    defaults: dict[str, Any] = {
        "mode": "open",
        "plan": LoadPlan(duration=20),
        "sale": SaleSession("an-id", 1000.0, 1020.0, 2, PricingTerms(100, 0.5, 1000, 2)),
        "recorded": LedgerContents(runs=[{"mode": "open"}], attempts=bids, samples=samples),
        "service_samples": [ServiceSample(1000.0 + n, n % 7, 400.0 + n, 5) for n in range(20)],
        "results": {"winners": [winner], "total_winners": 1, "total_bidders": 9},
        "verdict": Verdict("an-id", [Finding("all is well", 0, [])], ["a note"]),
        "environment": {"CPU": "a <fast> one", "Python": "3"},
        "command": "python -m loadtest flash --host http://127.0.0.1:8000",
    }
    return Run(**defaults | fields)
