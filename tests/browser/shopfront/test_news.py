"""What the shop tells a member, and what the member is offered."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Route, expect

from dev.stack import wait_until
from tests.browser.board import SETTLED_MS, UNREAD, NewSession, Visit, first
from tests.browser.visitor import Visitor
from tests.support.http.client import RESULTS_TIMEOUT_SECONDS, Client

NOTIFICATIONS = "**/api/notifications?*"
LOOK_AGAIN = "dispatchEvent(new Event('news-read'))"
KINDS = {"outbid": "Outbid", "starting": "Starts soon"}


def bell(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("navigation", name="Main").get_by_role("link", name="News")


def items(visitor: Visitor) -> Locator:
    return visitor.page.locator("main > .news > li")


def test_news_that_is_opened_is_read(visit: Visit, told: Client) -> None:
    visitor = visit(told).go()
    expect(bell(visitor)).to_have_text("News 1 unread")
    bell(visitor).click()
    expect(items(visitor)).to_have_count(1)
    expect(items(visitor)).to_contain_text("New Result Today")
    items(visitor).get_by_role("link").click()
    expect(visitor.page.locator("#results")).to_contain_text("Final price €150.00")
    expect(bell(visitor)).to_have_text("News")
    assert told.get(UNREAD).json == []


def test_all_news_are_marked_as_read_at_once(visit: Visit, told: Client) -> None:
    visitor = visit(told).go("/#/news")
    expect(items(visitor)).to_have_class(["unread"])
    button = visitor.page.get_by_role("button", name="Mark all read")
    button.click()
    expect(items(visitor)).to_have_class([""])
    expect(bell(visitor)).to_have_text("News")
    expect(button).to_be_focused()
    assert told.get(UNREAD).json == []


def test_news_that_comes_after_the_member_left_is_nobodys(visit: Visit, told: Client) -> None:
    visitor = visit(told)
    held: list[Route] = []
    visitor.page.route(NOTIFICATIONS, lambda route: held.append(route))  # noqa: PLW0108
    late = first(held, visitor.go())
    answer = visitor.page.request.get(
        f"{visitor.origin}{UNREAD}", headers={"Authorization": f"Bearer {told.token}"}
    )
    visitor.page.get_by_role("button", name="Sign out").click()
    expect(visitor.page.get_by_role("link", name="Sign in")).to_be_visible()
    with visitor.page.expect_event("requestfinished", lambda request: UNREAD in request.url):
        late.fulfill(response=answer)
    visitor.page.wait_for_timeout(SETTLED_MS)
    expect(bell(visitor)).to_have_count(0)
    expect(visitor.page.locator(".count")).to_have_count(0)


def test_news_that_comes_while_somebody_reads_is_announced(
    visit: Visit, new_session: NewSession, member: Callable[..., Client], admin: Client
) -> None:
    session_id, bidder = new_session(name="Lamp")["session_id"], member()
    assert bidder.bid(session_id, 150).status == 200
    visitor = visit(bidder)
    with visitor.page.expect_response(NOTIFICATIONS):
        visitor.go()
    expect(bell(visitor)).to_have_text("News")
    admin.put(f"/api/admin/sessions/{session_id}/close")
    assert wait_until(lambda: bool(bidder.get(UNREAD).json), RESULTS_TIMEOUT_SECONDS)
    visitor.page.evaluate(LOOK_AGAIN)
    expect(bell(visitor)).to_have_text("News 1 unread")
    expect(visitor.page.locator("#announcer")).to_contain_text("Lamp")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_news_is_named_and_leads_to_its_session(
    visit: Visit, new_session: NewSession, member: Callable[..., Client], kind: str
) -> None:
    session_id = new_session(name="Lamp")["session_id"]
    news = {
        "notification_id": str(uuid4()),
        "kind": kind,
        "session_id": session_id,
        "message": "Something about Lamp.",
        "created_at": "2026-01-02T03:04:05+00:00",
        "read_at": "2026-01-02T03:05:05+00:00",
    }
    visitor = visit(member())
    visitor.page.route(
        NOTIFICATIONS, lambda route: route.fulfill(json=[news], headers={"X-Total-Count": "1"})
    )
    visitor.go("/#/news")
    expect(items(visitor)).to_contain_text(KINDS[kind])
    items(visitor).get_by_role("link").click()
    expect(visitor.page.get_by_role("heading", name="Lamp", level=1)).to_be_focused()


def test_offer_says_what_to_pay_by_when_and_is_declined_after_asking(
    visit: Visit, told: Client
) -> None:
    visitor = visit(told, locale="en-GB").go("/#/news")
    offers = visitor.page.get_by_role("region", name="Your offers")
    expect(offers).to_contain_text("Lamp Pay €150.00 by Tomorrow ")
    decline = offers.get_by_role("button", name="Decline Lamp")
    decline.click()
    dialog = visitor.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    expect(decline).to_be_focused()
    decline.click()
    dialog.get_by_role("button", name="Decline").click()
    expect(offers).to_contain_text("€150.00 · Declined")
    expect(offers.get_by_role("heading")).to_be_focused()
    [offer] = told.get("/api/offers").json
    assert offer["state"] == "declined"


def test_offer_that_cannot_be_declined_any_more_says_why(
    visit: Visit, told: Client, admin: Client
) -> None:
    visitor = visit(told).go("/#/news")
    offers = visitor.page.get_by_role("region", name="Your offers")
    decline = offers.get_by_role("button", name="Decline Lamp")
    expect(decline).to_be_visible()
    [offer] = told.get("/api/offers").json
    admin.put(f"/api/admin/sessions/{offer['session_id']}/offers/{offer['offer_id']}/paid")
    decline.click()
    visitor.page.get_by_role("dialog").get_by_role("button", name="Decline").click()
    expect(offers.get_by_role("alert")).to_contain_text("paid")
    expect(offers).to_contain_text("€150.00 · Paid")
    assert any("409" in said for said in visitor.forgive())


def test_member_chooses_to_get_news_by_e_mail(visit: Visit, member: Callable[..., Client]) -> None:
    own = member()
    visitor = visit(own).go("/#/account")
    choice = visitor.page.get_by_role("checkbox", name="Send me e-mails")
    expect(choice).not_to_be_checked()
    with visitor.page.expect_response("**/api/auth/me"):
        choice.check()
    expect(choice).to_be_checked()
    assert own.get("/api/auth/me").json["email_news"] is True
    visitor.page.reload()
    expect(choice).to_be_checked()
