"""Moving through the page: titles, the keyboard's focus, views that cannot be shown."""

from collections.abc import Callable
from uuid import uuid4

from playwright.sync_api import Route, expect

from tests.browser.board import NewSession, Visit
from tests.support.http.client import Client

FOCUSED = "document.activeElement.localName"


def test_every_view_has_a_title_and_takes_the_focus_to_its_heading(
    empty_shop: None, visit: Visit, new_session: NewSession, admin: Client
) -> None:
    new_session(name=(name := f"Lamp {uuid4().hex}"))
    page = visit(admin).go().page
    expect(page).to_have_title("Sessions · Flashbid")
    expect(page.locator(".card").first).to_be_visible()
    assert page.evaluate(FOCUSED) == "body"
    menu = page.get_by_role("navigation", name="Main")
    for link, title in (
        (page.get_by_role("link", name=name), name),
        (menu.get_by_role("link", name="News"), "News"),
        (menu.get_by_role("link", name="Admin"), "Admin"),
        (menu.get_by_role("link", name="member-"), "Your account"),
        (menu.get_by_role("link", name="Sessions"), "Sessions"),
    ):
        link.click()
        expect(page).to_have_title(f"{title} · Flashbid")
        expect(page.get_by_role("heading", name=title, level=1)).to_be_focused()
    page.go_back()
    expect(page.get_by_role("heading", name="Your account", level=1)).to_be_focused()
    expect(menu.locator("[aria-current=page]")).to_have_count(0)


def test_new_data_leaves_the_focus_alone(
    empty_shop: None, visit: Visit, new_session: NewSession
) -> None:
    new_session()
    page = visit().go().page
    brand = page.get_by_role("link", name="Flashbid")
    brand.focus()
    new_session(name=(name := f"Lamp {uuid4().hex}"))
    expect(page.get_by_role("link", name=name)).to_be_visible()
    expect(brand).to_be_focused()


def test_first_key_leads_past_the_menu(visit: Visit, new_session: NewSession) -> None:
    session_id = new_session()["session_id"]
    page = visit().watch(session_id).page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    assert page.evaluate("location.hash") == f"#/session/{session_id}"


def test_session_that_does_not_exist_is_said_to_be_unavailable(visit: Visit) -> None:
    visitor = visit().go(f"/#/session/{uuid4()}")
    expect(visitor.page.get_by_role("heading", name="Not available")).to_be_visible()
    expect(visitor.page).to_have_title("Not available · Flashbid")
    assert any("404" in said for said in visitor.forgive())


def test_view_that_cannot_be_loaded_is_tried_again_on_demand(
    visit: Visit, new_session: NewSession
) -> None:
    session_id = new_session(name="Lamp")["session_id"]
    visitor = visit()
    reads = f"**/api/sessions/{session_id}"
    visitor.page.route(
        reads, lambda route: route.fulfill(status=429, json={"detail": "Too often."}), times=1
    )
    visitor.go(f"/#/session/{session_id}")
    expect(visitor.page.get_by_role("main")).to_contain_text("Too often.")
    visitor.page.get_by_role("button", name="Try again").click()
    expect(visitor.page.get_by_role("heading", name="Lamp", level=1)).to_be_focused()
    visitor.forgive()


def test_view_that_an_outage_stops_comes_without_being_asked_for(
    visit: Visit, new_session: NewSession
) -> None:
    visitor = visit()
    new_session(name=(name := f"Lamp {uuid4().hex}"))
    reads = "**/api/sessions?*"
    visitor.page.route(reads, lambda route: route.abort())
    visitor.go()
    notice = visitor.page.locator("#notice")
    expect(notice).to_contain_text("Can't reach the server")
    expect(visitor.page.get_by_role("heading", name="Not available")).to_be_visible()
    visitor.page.unroute(reads)
    expect(visitor.page.get_by_role("link", name=name)).to_be_visible()
    expect(notice).to_be_hidden()
    visitor.forgive()


def test_list_that_cannot_be_read_again_stays_with_a_notice(
    visit: Visit, new_session: NewSession
) -> None:
    new_session(name=(name := f"Lamp {uuid4().hex}"))
    visitor = visit().go()
    expect(visitor.page.get_by_role("link", name=name)).to_be_visible()
    visitor.page.route("**/api/sessions?*", lambda route: route.abort())
    expect(visitor.page.locator("#notice")).to_contain_text("Can't reach the server")
    expect(visitor.page.get_by_role("link", name=name)).to_be_visible()
    visitor.forgive()


def test_member_who_is_no_admin_sees_the_list_instead_of_the_console(
    visit: Visit, member: Callable[..., Client]
) -> None:
    visitor = visit(member())
    asked: list[Route] = []
    visitor.page.route("**/board/console/**", lambda route: asked.append(route))  # noqa: PLW0108
    visitor.go("/#/admin")
    expect(visitor.page.get_by_role("heading", name="Sessions", level=1)).to_be_visible()
    assert asked == []
