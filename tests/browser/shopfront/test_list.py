"""The list of sessions: what comes first, when, and what happens to the keyboard."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Locator, Route, expect

from tests.browser.board import NewSession, Visit, first
from tests.browser.visitor import PICTURES, Visitor
from tests.support.http.client import Client

BERLIN = "Europe/Berlin"
PAGE_SIZE = 50
BOX = "(node) => Object.values(node.getBoundingClientRect().toJSON())"


def part(visitor: Visitor, name: str) -> Locator:
    return visitor.page.get_by_role("region", name=name).get_by_role("heading", level=3)


def tomorrow(hour: int) -> datetime:
    day = datetime.now(ZoneInfo(BERLIN)) + timedelta(days=1)
    return day.replace(hour=hour, minute=0, second=0, microsecond=0)


def test_what_ends_next_is_on_top_then_what_starts_next_then_what_is_over(
    empty_shop: None, visit: Visit, new_session: NewSession, admin: Client
) -> None:
    for name, minutes in (("Late", 90), ("Soon", 30), ("Later", 120)):
        new_session(name=name, duration_minutes=minutes)
    for name, hour in (("Evening", 18), ("Morning", 9)):
        new_session(name=name, start_time=tomorrow(hour).isoformat())
    over = new_session(name="Gone")["session_id"]
    admin.put(f"/api/admin/sessions/{over}/close")
    visitor = visit(locale="en-GB", timezone_id=BERLIN).go()
    expect(part(visitor, "Open now")).to_have_text(["Soon", "Late", "Later"])
    expect(part(visitor, "To come")).to_have_text(["Morning", "Evening"])
    expect(part(visitor, "Over")).to_have_text(["Gone"])
    expect(visitor.page.locator(".card", has_text="Evening")).to_contain_text("Tomorrow 18:00")
    expect(visitor.page.locator(".card", has_text="Gone")).to_contain_text("Today ")
    # A guest has nobody to remind.
    expect(visitor.page.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize(
    ("days", "said"),
    [(-1, "Yesterday 18:00"), (0, "Today 18:00"), (3, "Saturday 18:00"), (7, "4 Nov 2026 18:00")],
)
def test_days_near_by_have_names_also_when_the_clocks_change(
    visit: Visit, days: int, said: str
) -> None:
    """25 October 2026 has 25 hours in Berlin; today is 28 October, or the day before it."""
    today = 25 if days <= 0 else 28
    visitor = visit(locale="en-GB", timezone_id=BERLIN)
    visitor.page.clock.set_fixed_time(datetime(2026, 10, today, 12, tzinfo=UTC))
    month, day = (11, 4) if days == 7 else (10, today + days)
    at = datetime(2026, month, day, 18, tzinfo=ZoneInfo(BERLIN)).isoformat()
    script = 'async (at) => (await import("/board/lib/days.js")).dayTime(at)'
    assert visitor.go().page.evaluate(script, at) == said


def test_more_sessions_than_a_page_holds_are_on_the_next(
    empty_shop: None, visit: Visit, new_session: NewSession
) -> None:
    for number in range(PAGE_SIZE + 1):
        new_session(name=f"Number {number}", duration_minutes=60 + number)
    visitor = visit().go()
    names = part(visitor, "Open now")
    expect(names).to_have_count(PAGE_SIZE)
    visitor.page.get_by_role("button", name="Next").click()
    expect(names).to_have_text([f"Number {PAGE_SIZE}"])
    expect(visitor.page.get_by_text("Page 2 of 2")).to_be_visible()
    expect(visitor.page.get_by_role("heading", level=1)).to_be_focused()
    visitor.page.get_by_role("button", name="Previous").click()
    expect(names).to_have_count(PAGE_SIZE)


def test_card_that_moves_to_another_part_keeps_the_keyboard(
    empty_shop: None, visit: Visit, new_session: NewSession, admin: Client
) -> None:
    session_id = new_session(name="Lamp", start_time=tomorrow(18).isoformat())["session_id"]
    visitor = visit().go()
    expect(part(visitor, "To come")).to_have_text(["Lamp"])
    visitor.page.get_by_role("link", name="Lamp").focus()
    admin.put(f"/api/admin/sessions/{session_id}/activate")
    expect(part(visitor, "Open now")).to_have_text(["Lamp"])
    expect(visitor.page.get_by_role("link", name="Lamp")).to_be_focused()


def with_picture(route: Route) -> None:
    """The sessions as a shop with pictures lists them; the page's own icon is one here."""
    answer = route.fetch()
    sessions: list[dict[str, Any]] = answer.json()
    picture = {"image_url": "/board/icon.svg?picture"}
    route.fulfill(response=answer, json=[session | picture for session in sessions])


def test_picture_on_a_host_of_the_shop_is_shown(
    empty_shop: None, visit: Visit, new_session: NewSession
) -> None:
    """The page's policy lets it in; whatever is on other hosts would be a complaint."""
    new_session(name="Lamp", image_url=f"{PICTURES}lamp.svg")
    picture = visit().go().page.get_by_role("img", name="Lamp")
    expect(picture).to_be_visible()
    assert picture.evaluate("(node) => node.decode().then(() => node.naturalWidth > 0)")


def test_picture_has_the_products_name_and_its_place_before_it_is_there(
    empty_shop: None, visit: Visit, new_session: NewSession
) -> None:
    new_session(name="Lamp")
    visitor = visit()
    held: list[Route] = []
    visitor.page.route("**/api/sessions?*", with_picture)
    visitor.page.route("**/icon.svg?picture", lambda route: held.append(route))  # noqa: PLW0108
    picture = visitor.go().page.get_by_role("img", name="Lamp")
    facts = visitor.page.locator(".card .facts").first
    expect(picture).to_have_attribute("loading", "lazy")
    late = first(held, visitor)
    before = (picture.evaluate(BOX), facts.evaluate(BOX))
    with visitor.page.expect_event("requestfinished", lambda request: "picture" in request.url):
        late.continue_()
    assert picture.evaluate("(node) => node.decode().then(() => node.naturalWidth > 0)")
    assert (picture.evaluate(BOX), facts.evaluate(BOX)) == before


def test_member_is_reminded_on_demand(
    empty_shop: None, visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(name="Lamp", start_time=tomorrow(18).isoformat())["session_id"]
    own = member()
    visitor = visit(own).go()
    button = visitor.page.get_by_role("button", name="Remind me of Lamp")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_be_focused()
    [reminder] = own.get("/api/reminders").json
    assert reminder["session_id"] == session_id
    visitor.page.reload()
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert own.get("/api/reminders").json == []
