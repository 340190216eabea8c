"""The console's simulator: what admins choose and see."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.test_screens import FAINT_TEXTS, LEAST_CONTRAST
from tests.browser.visitor import Visitor
from tests.support.http.client import Client, final_results

Visit = Callable[..., Visitor]
TIMEOUT_MS = 30_000
WIDTHS = {375: 812, 768: 1024, 1440: 900}
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def simulator(visit: Visit, admin: Client) -> Callable[..., Visitor]:
    """Opens the page, as an admin who comes by the menu."""

    def open_page(**options: Any) -> Visitor:
        visitor = visit(admin, **options).go("/#/admin")
        visitor.page.get_by_role("link", name="Simulator").click()
        expect(visitor.page.get_by_role("heading", name="Simulator")).to_be_visible()
        return visitor

    return open_page


def figure(visitor: Visitor, name: str) -> Locator:
    return visitor.page.locator("dl.stats > div", has=visitor.page.get_by_text(name)).locator("dd")


def simulate(visitor: Visitor, **values: object) -> None:
    """Fill in the fields of these labels, and press Enter in the last."""
    form = visitor.page.get_by_role("form", name="Simulator")
    for label, value in values.items():
        form.get_by_label(re.compile(f"^{label}")).fill(str(value))
    form.get_by_label("Items").press("Enter")


def test_a_crowd_shows_what_wins(simulator: Callable[..., Visitor]) -> None:
    visitor = simulator()
    simulate(visitor, Sales=2)
    outcome = visitor.page.get_by_role("heading", name="1,000 bids in 2 sales")
    expect(outcome).to_be_focused()
    expect(figure(visitor, "A weight of 5")).to_have_text("16.00")
    seconds = visitor.page.get_by_role("table", name="What one second is worth")
    expect(seconds.get_by_role("row").nth(1)).to_have_text("0 s1,000.00")
    expect(visitor.page.get_by_role("img", name="Score of a bid of 100.00")).to_be_visible()
    dots = visitor.page.get_by_role("img", name="Bids of the first sale").locator("path")
    assert [path.get_attribute("d").count("M") for path in dots.all()] == [495, 5]


def test_without_speed_the_highest_price_never_loses(simulator: Callable[..., Visitor]) -> None:
    visitor = simulator()
    simulate(visitor, Beta=0, Gamma=0)
    expect(figure(visitor, "Sales whose highest bid loses")).to_have_text("0%")
    simulate(visitor, Beta=100_000)
    expect(figure(visitor, "Sales whose highest bid loses")).not_to_have_text("0%")
    simulate(visitor, Alpha=0)
    expect(figure(visitor, "A weight of 5")).to_have_text("\u2013")


def test_a_past_session_is_ranked_anew(
    simulator: Callable[..., Visitor],
    new_session: Callable[..., dict[str, Any]],
    member: Callable[..., Client],
    admin: Client,
) -> None:
    sale = new_session(name="Past lamp", inventory=1, alpha=0, beta=1000, gamma=0)
    for price in (150, 400):
        assert member().bid(sale["session_id"], price).status == 200
    admin.put(f"/api/admin/sessions/{sale['session_id']}/close")
    final_results(admin, sale["session_id"])
    visitor = simulator()
    form = visitor.page.get_by_role("form", name="Simulator")
    choice = form.get_by_role("combobox")
    expect(choice.locator("option")).to_contain_text(["A new crowd", "Past lamp, ended"])
    choice.select_option(sale["session_id"])
    expect(form.get_by_label("Alpha")).to_have_value("0")
    expect(form.get_by_label("Bidders")).to_have_count(0)
    simulate(visitor)
    expect(figure(visitor, "winners pay their bids")).to_have_text("€150.00")
    simulate(visitor, Alpha=1, Beta=0)
    expect(figure(visitor, "winners pay their bids")).to_have_text("€400.00")


def test_bad_input_is_explained(simulator: Callable[..., Visitor]) -> None:
    visitor = simulator()
    simulate(visitor, Bidders=20_000)
    form = visitor.page.get_by_role("form", name="Simulator")
    expect(form).to_contain_text("At most 20,000 bids: bidders times runs.")
    expect(form.get_by_label("Sales")).to_be_focused()
    assert all("422" in said for said in visitor.forgive())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(
    simulator: Callable[..., Visitor], shot: Callable[[Visitor, str], Path], scheme: str
) -> None:
    visitor = simulator(color_scheme=scheme)
    simulate(visitor)
    expect(visitor.page.get_by_role("heading", name="10,000 bids in 20 sales")).to_be_visible()
    for width, height in WIDTHS.items():
        visitor.page.set_viewport_size({"width": width, "height": height})
        shot(visitor, f"{scheme}-simulator-{width}")
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width
    assert visitor.page.evaluate(FAINT_TEXTS, LEAST_CONTRAST) == []
