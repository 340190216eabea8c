"""Every screen on three sizes, in both schemes: it fits, and can be read. Pictures are kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.support.http.client import Client

WIDTHS = {375: 812, 768: 1024, 1280: 800}
# WCAG 2.2, level AA, for text of any size.
LEAST_CONTRAST = 4.5
LONG_NAME = "Espressomaschinenreinigungstablettenvorratspackung".join("123")
Visit = Callable[..., Visitor]
Shot = Callable[[Visitor, str], Path]

FAINT_TEXTS = (Path(__file__).parent / "faint_texts.js").read_text()


@pytest.fixture
def look(shot: Shot) -> Callable[[Visitor, str], None]:
    """Checks a screen on all sizes, and takes a picture of each."""

    def at(visitor: Visitor, name: str) -> None:
        for width, height in WIDTHS.items():
            visitor.page.set_viewport_size({"width": width, "height": height})
            shot(visitor, f"{name}-{width}")
            assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert visitor.page.evaluate(FAINT_TEXTS, LEAST_CONTRAST) == [], name

    return at


@dataclass(frozen=True)
class Sale:
    """A session with five bids on three items; the member's is second."""

    session_id: str
    own: Client
    others: list[Client]

    def outbid(self) -> None:
        for bidder, price in zip(self.others[2:], (5000, 6000), strict=True):
            assert bidder.bid(self.session_id, price).status == 200


@pytest.fixture
def sale(new_session: Callable[..., dict[str, Any]], member: Callable[..., Client]) -> Sale:
    session = new_session(name="Lamp, brushed steel", description="2700 K", inventory=3, beta=0)
    sale = Sale(session["session_id"], member(), [member() for _ in range(4)])
    for bidder, price in zip((*sale.others, sale.own), (400, 300, 250, 200, 320), strict=True):
        assert bidder.bid(sale.session_id, price).status == 200
    return sale


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_fits_and_can_be_read(
    visit: Visit,
    look: Callable[[Visitor, str], None],
    sale: Sale,
    new_session: Callable[..., dict[str, Any]],
    admin: Client,
    scheme: str,
) -> None:
    new_session(name=LONG_NAME, inventory=1, duration_minutes=30000)
    guest = visit(color_scheme=scheme).go()
    guest.page.locator(".card").first.wait_for()
    look(guest, f"{scheme}-list")
    guest.go("/#/account").page.get_by_role("form", name="Sign up").wait_for()
    look(guest, f"{scheme}-account")
    look(guest.watch(sale.session_id), f"{scheme}-visitor")

    bidder = visit(sale.own, color_scheme=scheme).watch(sale.session_id)
    expect(bidder.standing).to_contain_text("2nd place")
    look(bidder, f"{scheme}-winning")
    sale.outbid()
    expect(bidder.standing).to_contain_text("not winning")
    bidder.page.get_by_label("Your price").fill("0.5")
    look(bidder, f"{scheme}-outbid")

    boss = visit(admin, color_scheme=scheme).go("/#/admin")
    boss.page.locator(".stats dd").first.wait_for()
    look(boss, f"{scheme}-admin")
    look(boss.watch(sale.session_id), f"{scheme}-admin-session")
    admin.put(f"/api/admin/sessions/{sale.session_id}/close")
    expect(bidder.page.locator("#results")).to_contain_text("Final price")
    look(bidder, f"{scheme}-results")
