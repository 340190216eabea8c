"""Six frequent tasks of a member, with the clicks that each may take."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from dev.stack import wait_until
from tests.browser.board import NewSession, Visit
from tests.browser.console.boss import COUNT_CLICKS
from tests.browser.shopfront.test_list import tomorrow
from tests.browser.visitor import Visitor
from tests.support.http.client import RESULTS_TIMEOUT_SECONDS, Client


@pytest.fixture
def counted(visit: Visit) -> Callable[..., Visitor]:
    """A visitor at the list, whose clicks are counted."""

    def open_list(client: Client | None = None) -> Visitor:
        visitor = visit(client)
        visitor.page.add_init_script(COUNT_CLICKS)
        return visitor.go()

    return open_list


def clicks(visitor: Visitor) -> int:
    return visitor.page.evaluate("window.clicks")


def open_session(visitor: Visitor, name: str) -> None:
    visitor.page.get_by_role("heading", level=3).get_by_role("link", name=name).click()


def test_winning_a_place_takes_two_clicks(
    empty_shop: None,
    counted: Callable[..., Visitor],
    new_session: NewSession,
    member: Callable[..., Client],
) -> None:
    session_id = new_session(name="Lamp", inventory=1, beta=0)["session_id"]
    assert member().bid(session_id, 150).status == 200
    visitor = counted(member())
    open_session(visitor, "Lamp")
    visitor.page.locator("#step").click()
    expect(visitor.standing).to_contain_text("1st place")
    assert clicks(visitor) == 2  # the session, Bid ... for 1st place


def test_signing_up_and_bidding_takes_four_clicks(
    empty_shop: None, counted: Callable[..., Visitor], new_session: NewSession
) -> None:
    new_session(name="Lamp")
    visitor = counted()
    open_session(visitor, "Lamp")
    visitor.page.get_by_role("link", name="Sign in to bid").click()
    form = visitor.page.get_by_role("form", name="Sign up")
    form.get_by_label("Username").fill(f"ada-{uuid4().hex[:8]}")
    form.get_by_label("E-mail").fill(f"{uuid4().hex}@example.com")
    form.get_by_label("Password").fill("a-secret-word")
    form.get_by_role("button").click()
    visitor.bid(150)
    expect(visitor.standing).to_contain_text("1st place")
    assert clicks(visitor) == 4  # the session, Sign in to bid, Sign up, Place bid


def test_asking_for_a_reminder_takes_one_click(
    empty_shop: None,
    counted: Callable[..., Visitor],
    new_session: NewSession,
    member: Callable[..., Client],
) -> None:
    new_session(name="Lamp", start_time=tomorrow(18).isoformat())
    visitor = counted(member())
    remind = visitor.page.get_by_role("button", name="Remind me of Lamp")
    remind.click()
    expect(remind).to_have_attribute("aria-pressed", "true")
    assert clicks(visitor) == 1  # Remind me


def test_seeing_what_to_pay_takes_one_click(counted: Callable[..., Visitor], told: Client) -> None:
    visitor = counted(told)
    visitor.page.get_by_role("link", name="News").click()
    offers = visitor.page.get_by_role("region", name="Your offers")
    expect(offers).to_contain_text("Pay €150.00 by")
    assert clicks(visitor) == 1  # News


def test_declining_an_item_takes_three_clicks(
    counted: Callable[..., Visitor], told: Client
) -> None:
    visitor = counted(told)
    visitor.page.get_by_role("link", name="News").click()
    visitor.page.get_by_role("button", name="Decline Lamp").click()
    visitor.page.get_by_role("dialog").get_by_role("button").first.click()
    expect(visitor.page.get_by_role("region", name="Your offers")).to_contain_text("Declined")
    assert clicks(visitor) == 3  # News, Decline, and once more in the dialog


def test_choosing_news_by_mail_takes_two_clicks(
    counted: Callable[..., Visitor], member: Callable[..., Client]
) -> None:
    own = member()
    visitor = counted(own)
    visitor.page.get_by_role("navigation", name="Main").get_by_role("link").last.click()
    visitor.page.get_by_role("checkbox").click()
    assert wait_until(lambda: own.get("/api/auth/me").json["email_news"], RESULTS_TIMEOUT_SECONDS)
    assert clicks(visitor) == 2  # the own name, the box
