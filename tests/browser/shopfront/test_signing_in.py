"""Signing in leads back to where the member was, in all tabs."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser.board import KEPT_TOKEN, NewSession, Visit, sign_up
from tests.browser.visitor import TOKEN_KEY, Visitor
from tests.support.http.client import Client

SPOIL = f"localStorage.setItem({TOKEN_KEY!r}, {KEPT_TOKEN} + 'x')"
PASSWORD = "a-secret-word"


@pytest.fixture
def account(connect: Callable[..., Client]) -> str:
    """The name of an account with the password."""
    name = f"ada-{uuid4().hex}"
    email = f"{name}@example.com"
    answer = connect().post("/api/auth/register", username=name, email=email, password=PASSWORD)
    assert answer.status == 201, answer
    return name


def sign_in(page: Page, name: str) -> None:
    form = page.get_by_role("form", name="Sign in")
    form.get_by_label("Username").fill(name)
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button").click()


def out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()


def expect_member(page: Page, name: str) -> None:
    expect(
        page.get_by_role("navigation", name="Main").get_by_role("link", name=name)
    ).to_be_visible()


def expect_guest(page: Page) -> None:
    expect(
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Sign in")
    ).to_be_visible()


def test_guest_who_signs_in_is_back_at_the_session(
    visit: Visit, new_session: NewSession, account: str
) -> None:
    session = new_session(name="Lamp")
    visitor = visit().watch(session["session_id"])
    visitor.page.get_by_role("link", name="Sign in", exact=True).click()
    sign_in(visitor.page, account)
    expect(visitor.page.get_by_role("heading", name="Lamp", level=1)).to_be_focused()
    expect(visitor.page.get_by_role("button", name="Place bid")).to_be_visible()
    assert visitor.page.evaluate("location.hash") == f"#/session/{session['session_id']}"


def test_price_is_still_typed_after_the_login_ended_and_began_again(
    visit: Visit, new_session: NewSession, account: str, member: Callable[..., Client]
) -> None:
    visitor = visit(member()).watch(new_session()["session_id"])
    visitor.page.evaluate(SPOIL)
    visitor.bid(175)
    visitor.page.get_by_role("link", name="Sign in to bid").click()
    sign_in(visitor.page, account)
    expect(visitor.page.get_by_label("Your price")).to_have_value("175")
    visitor.page.get_by_role("button", name="Place bid").click()
    expect(visitor.standing).to_contain_text("1st place with €175.00")
    assert any("401" in said for said in visitor.forgive())


def test_guest_who_asks_for_the_news_reads_them_after_signing_in(
    visit: Visit, account: str
) -> None:
    visitor = visit().go("/#/news")
    sign_in(visitor.page, account)
    expect(visitor.page.get_by_role("heading", name="News")).to_be_focused()
    out(visitor.page)
    expect(visitor.page.get_by_role("form", name="Sign in")).to_be_visible()
    expect(visitor.page.get_by_role("heading", level=1)).to_be_focused()


def test_tabs_sign_in_and_out_together(visit: Visit, account: str) -> None:
    visitor = visit()
    sign_up(visitor, name := f"bob-{uuid4().hex}")
    page = visitor.page
    other = Visitor(page.context.new_page(), int(visitor.origin.rpartition(":")[2]), None).go()
    expect_member(other.page, name)
    out(other.page)
    for tab in (other.page, page):
        expect_guest(tab)
    other.page.get_by_role("link", name="Sign in").click()
    sign_in(other.page, account)
    for tab in (other.page, page):
        expect_member(tab, account)
    # The tab that only watched stays where it was.
    expect(page.get_by_role("heading", name="Sessions", level=1)).to_be_visible()
    other.check()


def test_member_who_returns_is_still_signed_in(visit: Visit, account: str) -> None:
    visitor = visit().go("/#/account")
    sign_in(visitor.page, account)
    expect_member(visitor.page, account)
    context = visitor.page.context
    visitor.page.close()
    visitor.page = context.new_page()
    expect_member(visitor.go().page, account)
