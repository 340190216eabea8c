"""The board when something goes wrong: lost answers, lost tokens, markup, refusals."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Route, expect

from tests.browser.board import (
    KEPT_TOKEN,
    MARKUP,
    OWN_ACCOUNT,
    NewSession,
    Visit,
    sign_up,
)
from tests.support.http.client import Client


@pytest.mark.parametrize("answer", ["none", "cut"])
def test_bid_without_an_answer_is_said_to_be_uncertain_and_can_be_sent_again(
    visit: Visit, new_session: NewSession, member: Callable[..., Client], answer: str
) -> None:
    visitor = visit(member()).watch(new_session()["session_id"])

    def lose(route: Route) -> None:
        if answer == "none":
            route.abort()
        else:
            route.fulfill(status=200, content_type="application/json", body='{"rank": 1,')

    visitor.page.route("**/api/bid", lose)
    visitor.bid(150)
    alert = visitor.page.get_by_role("form", name="Bid").get_by_role("alert")
    expect(alert).to_contain_text("couldn't confirm your bid. Tap again")
    expect(visitor.standing).to_be_empty()
    expect(visitor.page.locator("#notice")).to_be_hidden()
    visitor.page.unroute("**/api/bid")
    visitor.page.get_by_role("button", name="Place bid").click()
    expect(visitor.standing).to_contain_text("1st place with €150.00")
    expect(alert).to_be_hidden()
    visitor.forgive()


def test_member_stays_one_when_the_server_cannot_say_who_it_is(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    new_session()
    visitor = visit(member())
    visitor.page.route(OWN_ACCOUNT, lambda route: route.fulfill(status=503), times=1)
    visitor.go()
    expect(visitor.page.get_by_role("button", name="Sign out")).to_be_visible()
    visitor.forgive()


def test_wrong_password_does_not_take_a_token_away(
    visit: Visit, member: Callable[..., Client]
) -> None:
    own = member()
    visitor = visit(own)
    visitor.page.route(OWN_ACCOUNT, lambda route: route.fulfill(status=503))
    form = visitor.go("/#/account").page.get_by_role("form", name="Sign in")
    form.get_by_label("Username").fill("somebody")
    form.get_by_label("Password").fill("not-the-word")
    form.get_by_role("button").click()
    expect(form.get_by_role("alert")).not_to_be_empty()
    assert visitor.page.evaluate(KEPT_TOKEN) == own.token
    visitor.page.unroute(OWN_ACCOUNT)
    expect(visitor.page.get_by_role("button", name="Sign out")).to_be_visible()
    visitor.forgive()


def test_token_that_is_no_good_is_forgotten(visit: Visit, member: Callable[..., Client]) -> None:
    own = member()
    own.token = f"{own.token}x"
    visitor = visit(own).go()
    expect(visitor.page.get_by_role("link", name="Sign in")).to_be_visible()
    assert visitor.page.evaluate(KEPT_TOKEN) is None
    visitor.forgive()


def test_session_that_is_opened_early_counts_from_its_new_start(
    visit: Visit, new_session: NewSession, admin: Client
) -> None:
    later = datetime.now(UTC) + timedelta(minutes=30)
    session_id = new_session(start_time=later.isoformat())["session_id"]
    visitor = visit().watch(session_id)
    expect(visitor.page.locator(".timer")).to_contain_text("Starts in")
    expect(visitor.page.locator("#state")).to_have_text("Live")
    opened = admin.put(f"/api/admin/sessions/{session_id}/activate").json
    start = datetime.fromisoformat(opened["start_time"])
    assert start < later
    milliseconds = str(int(start.timestamp() * 1000))
    expect(visitor.page.locator(".timer")).to_have_attribute("data-start", milliseconds)
    expect(visitor.page.locator(".timer")).to_contain_text("left")


def test_list_that_changes_leaves_the_keyboard_where_it_is(
    empty_shop: None, visit: Visit, new_session: NewSession
) -> None:
    session_id = new_session(name="The first")["session_id"]
    visitor = visit().go()
    visitor.page.get_by_role("link", name="The first").focus()
    new_session(name=(name := f"A new one {uuid4().hex}"))
    expect(visitor.page.get_by_role("link", name=name)).to_be_visible()
    assert visitor.page.evaluate("document.activeElement.hash") == f"#/session/{session_id}"


def test_names_with_markup_are_text(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session = new_session(name=MARKUP, description=MARKUP)
    visitor = visit()
    sign_up(visitor, name := f"<b>{uuid4().hex}</b>")
    visitor.watch(session["session_id"]).bid(150)
    expect(visitor.page.locator("tr.own .name")).to_have_text(name)
    assert visitor.page.locator("#board b").count() == 0
    expect(visitor.page.locator("h1")).to_have_text(MARKUP)
    assert visitor.page.locator("main img").count() == 0


def test_bid_by_keyboard_alone(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    visitor = visit(member()).watch(new_session()["session_id"])
    for _ in range(20):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("document.activeElement.name") == "price":
            break
    visitor.page.keyboard.type("175")
    visitor.page.keyboard.press("Enter")
    expect(visitor.standing).to_contain_text("€175.00")


def test_refusal_is_shown_in_the_servers_words(
    visit: Visit, new_session: NewSession, member: Callable[..., Client], admin: Client
) -> None:
    session_id = new_session()["session_id"]
    visitor = visit(member()).watch(session_id)
    admin.put(f"/api/admin/sessions/{session_id}/deactivate")
    visitor.bid(150)
    expect(visitor.page.get_by_role("form", name="Bid").get_by_role("alert")).not_to_be_empty()
    [said] = visitor.forgive()
    assert "409" in said


def test_page_asks_nobody_else_and_complains_of_nothing(
    visit: Visit, new_session: NewSession, admin: Client
) -> None:
    visitor = visit(admin).watch(new_session()["session_id"])
    visitor.bid(150)
    expect(visitor.standing).to_contain_text("1st place")
    visitor.go("/#/admin")
    visitor.page.locator(".stats dd").first.wait_for()
    assert len(visitor.requested) > 5
    visitor.check()


def test_content_security_policy_stops_inline_script(visit: Visit) -> None:
    visitor = visit().go()
    visitor.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.injected = 1'}))"
    )
    assert visitor.page.evaluate("window.injected === undefined")
    [said] = visitor.forgive()
    assert "Content Security Policy" in said


@pytest.mark.parametrize(
    "script",
    [
        "document.body.append(Object.assign(document.createElement('script'), {textContent: '1'}))",
        "document.body.setAttribute('style', 'color: red')",
        "fetch('http://127.0.0.1:1/').catch(() => 0)",
        "console.warn('something is odd')",
        "setTimeout(() => { throw new Error('a bug') })",
    ],
)
def test_control_a_complaint_of_the_browser_fails_the_test(visit: Visit, script: str) -> None:
    """What `visit` does for every visitor at the end of a test."""
    visitor = visit().go()
    visitor.page.evaluate(f"() => {{ {script} }}")
    visitor.page.wait_for_timeout(200)
    with pytest.raises(AssertionError):
        visitor.check()
    assert visitor.forgive()
