"""/docs, where people try the API with their own token."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from dev.stack import wait_until
from tests.browser.visitor import Visitor
from tests.support.http.client import Client, final_results

PASSWORD = "a long phrase of mine"
# Swagger UI is slow on a busy machine.
PATIENCE_MS = 30_000
# Each with its tag; what needs ids of the shop's own, in an order in which all can be sent.
PRESSED = """
    auth-register auth-login admin-add_session bidding-place_bid bidding-results exports-export
    notifications-mark_read offers-mark_offer_paid
"""


def stored(visitor: Visitor) -> list[str]:
    """Everything that the browser would keep for the next visit."""
    return visitor.page.evaluate("Object.values(localStorage).concat(document.cookie || [])")


def test_a_token_entered_in_the_docs_ends_with_the_page(
    visit: Callable[..., Visitor], member: Callable[..., Client]
) -> None:
    token = member().token
    assert token is not None
    visitor = visit().go("/docs")
    page = visitor.page
    page.get_by_role("button", name="Authorize").first.click()
    # The second form is for API keys.
    form = page.locator(".auth-container").first
    form.locator("input").fill(token)
    form.get_by_role("button", name="Apply credentials").click()
    form.get_by_role("button", name="Close", exact=True).click()

    page.locator("#operations-auth-me").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text(
        "200"
    )
    assert stored(visitor) == []

    page.reload()
    page.get_by_role("button", name="Authorize").first.click()
    expect(page.locator(".auth-container input").first).to_have_value("")


def test_a_token_that_an_earlier_version_kept_is_removed(visit: Callable[..., Visitor]) -> None:
    visitor = visit().go("/")
    visitor.page.evaluate('localStorage.setItem(\'authorized\', \'{"token": {"value": "x"}}\')')
    visitor.go("/docs")
    visitor.page.get_by_role("button", name="Authorize").first.wait_for()
    assert stored(visitor) == []


@pytest.fixture
def shop(empty_shop: None, client: Client) -> Client:
    """An admin with a password, who has bid and won in one session, and runs another."""
    account = {"username": "shop", "email": "shop@example.com", "password": PASSWORD}
    client.token = client.post("/api/auth/register", **account).json["token"]
    sessions = [
        client.post("/api/admin/sessions/combined", name=name, upset_price=100, inventory=3)
        for name in ("Sold", "On sale")
    ]
    sold = sessions[0].json["session_id"]
    assert client.bid(sold, 150).status == 200
    client.put(f"/api/admin/sessions/{sold}/close")
    final_results(client, sold)
    assert wait_until(lambda: client.get("/api/notifications").json, 30)
    client.post(f"/api/admin/sessions/{sold}/exports", kind="results")
    client.post(
        "/api/admin/webhook-endpoints", url="https://shop.example/x", events=["session.ended"]
    )
    return client


def log_in(page: Page, password: str) -> None:
    page.get_by_label("Username").fill("shop")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in", exact=True).click()


def test_examples_can_be_sent_as_they_are(visit: Callable[..., Visitor], shop: Client) -> None:
    visitor = visit().go("/docs")
    page = visitor.page
    log_in(page, PASSWORD)
    expect(page.get_by_text("Logged in as shop.")).to_be_visible(timeout=PATIENCE_MS)
    for operation in PRESSED.split():
        block = page.locator(f"#operations-{operation}")
        block.locator(".opblock-summary-control").click()
        block.get_by_role("button", name="Try it out").click()
        block.get_by_role("button", name="Execute").click()
        status = block.locator(".live-responses-table .response .response-col_status")
        expect(status, operation).to_contain_text(re.compile(r"^20[0-4]"), timeout=PATIENCE_MS)
        block.locator(".opblock-summary-control").click()
    assert stored(visitor) == []


def test_a_wrong_password_is_answered_beside_the_form(
    visit: Callable[..., Visitor], shop: Client
) -> None:
    visitor = visit().go("/docs")
    log_in(visitor.page, "another phrase")
    said = visitor.page.get_by_text("The username or the password is wrong.")
    expect(said).to_be_visible(timeout=PATIENCE_MS)
    assert all("401" in complaint for complaint in visitor.forgive())
