"""/docs, where people try the API with their own token."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.support.http.client import Client


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
