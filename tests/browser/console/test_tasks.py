"""Six frequent tasks of an admin, with the clicks that each may take, and how it all looks."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.board import NewSession, Visit
from tests.browser.console.boss import Boss, a_name, sell, username_of
from tests.browser.test_screens import FAINT_TEXTS, LEAST_CONTRAST, LONG_NAME
from tests.support.http.client import Client

UNNAMED = """[...document.querySelectorAll("input, select, textarea")]
  .filter((control) => !control.labels.length).map((control) => control.name)"""
WIDTHS = {375: 812, 768: 1024, 1440: 900}


@pytest.fixture
def boss(visit: Visit, admin: Client) -> Boss:
    return Boss(visit, admin)


def test_creating_a_session_takes_two_clicks(boss: Boss) -> None:
    boss.go().open("New session")
    boss.page.get_by_label("Name", exact=True).fill(name := a_name())
    boss.press("Create session")
    expect(boss.page.get_by_role("heading", level=1)).to_have_text(name)
    assert boss.clicks == 2  # New session, Create session


def test_extending_a_session_takes_three_clicks(boss: Boss, new_session: NewSession) -> None:
    name = new_session(name=a_name())["name"]
    boss.go().find(name)
    boss.open(name)
    boss.press("+5 min")
    boss.confirm("Extend")
    expect(boss.outcome).to_contain_text("now ends")
    assert boss.clicks == 3  # the session, +5 min, Extend


def test_cancelling_a_session_takes_three_clicks(boss: Boss, new_session: NewSession) -> None:
    name = new_session(name=a_name())["name"]
    boss.go().find(name)
    boss.open(name)
    boss.press("Cancel session")
    boss.page.keyboard.type("Sold elsewhere.")
    boss.confirm("Cancel session")
    expect(boss.outcome).to_contain_text("is cancelled")
    assert boss.clicks == 3  # the session, Cancel session, and once more in the dialog


def test_marking_a_winner_paid_takes_three_clicks(
    boss: Boss, admin: Client, new_session: NewSession, member: Callable[..., Client]
) -> None:
    winner, name = member(), a_name()
    sell(admin, new_session, [winner], name=name)
    boss.go().find(name)
    boss.open(name)
    boss.press(f"Paid: {username_of(winner)}")
    boss.confirm("Paid")
    expect(boss.page.get_by_text("Paid since")).to_be_visible()
    assert boss.clicks == 3  # the session, Paid, and once more in the dialog


def test_downloading_the_results_takes_two_clicks(
    boss: Boss, admin: Client, new_session: NewSession, member: Callable[..., Client]
) -> None:
    sell(admin, new_session, [member()], name=(name := a_name()))
    boss.go().find(name)
    boss.open(name)
    with boss.page.expect_download():
        boss.press("Results (CSV)")
    assert boss.clicks == 2  # the session, Results (CSV)


def test_duplicating_a_session_takes_two_clicks(boss: Boss, new_session: NewSession) -> None:
    name = new_session(name=a_name())["name"]
    boss.go().find(name)
    boss.open(f"Duplicate {name}")
    boss.press("Create session")
    expect(boss.page.get_by_role("button", name="Pause")).to_be_visible()
    assert boss.clicks == 2  # Duplicate, Create session


def looks_good(boss: Boss, name: str) -> None:
    page = boss.page
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
    assert page.evaluate(FAINT_TEXTS, LEAST_CONTRAST) == [], name
    assert page.evaluate(UNNAMED) == [], name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_and_can_be_read(
    visit: Visit,
    admin: Client,
    new_session: NewSession,
    member: Callable[..., Client],
    scheme: str,
) -> None:
    running = new_session(name=LONG_NAME, upset_price=9_999_999_999)["session_id"]
    sold = sell(admin, new_session, [member() for _ in range(3)], name=LONG_NAME)
    boss = Boss(visit, admin, color_scheme=scheme)
    boss.go().find("Espresso")
    boss.page.locator(".rows li").first.wait_for()
    looks_good(boss, "list")
    boss.go("new").page.get_by_role("form").wait_for()
    looks_good(boss, "new")
    boss.go(running).page.locator(".stats dd").first.wait_for()
    looks_good(boss, "running")
    boss.press("Cancel session")
    looks_good(boss, "dialog")
    boss.page.keyboard.press("Escape")
    boss.go(running, "edit").page.get_by_role("form").wait_for()
    looks_good(boss, "edit")
    boss.go(sold).page.get_by_text("Next in line").wait_for()
    looks_good(boss, "sold")
