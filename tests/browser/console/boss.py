"""Shared by the tests of the console: an admin at work."""

from typing import Any
from uuid import uuid4

from playwright.sync_api import Locator, Page, expect

from tests.browser.board import NewSession, Visit
from tests.browser.visitor import Visitor
from tests.support.http.client import Client, final_results

# Only those of the mouse: a key that presses a button is no click.
COUNT_CLICKS = """
  window.clicks = 0;
  const count = (event) => (window.clicks += event.isTrusted && event.detail ? 1 : 0);
  addEventListener("click", count, true);
"""
SESSIONS = "/#/admin/sessions"


class Boss:
    """An admin in the console."""

    def __init__(self, visit: Visit, admin: Client, **options: Any) -> None:
        self.visitor: Visitor = visit(admin, **options)
        self.page: Page = self.visitor.page
        self.page.add_init_script(COUNT_CLICKS)

    def go(self, *path: str) -> "Boss":
        self.visitor.go("/".join((SESSIONS, *path)))
        return self

    def find(self, name: str) -> None:
        """Search the list, by keyboard."""
        box = self.page.get_by_role("searchbox")
        box.fill(name)
        box.press("Enter")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def open(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).click()

    def confirm(self, button: str) -> None:
        self.dialog.get_by_role("button", name=button, exact=True).click()

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    @property
    def outcome(self) -> Locator:
        return self.page.locator(".said").first

    @property
    def clicks(self) -> int:
        return int(self.page.evaluate("window.clicks"))

    def offer_of(self, name: str) -> Locator:
        return self.page.get_by_role("listitem").filter(has_text=name)

    def has_focus(self, where: Locator) -> None:
        expect(where).to_be_focused()


def a_name(what: str = "Lamp") -> str:
    return f"{what} {uuid4().hex[:12]}"


def username_of(client: Client) -> str:
    return str(client.get("/api/auth/me").json["username"])


def sell(admin: Client, new_session: NewSession, bidders: list[Client], **terms: Any) -> str:
    """End a session in which these have bid, the highest first; its id."""
    session_id = str(new_session(**{"beta": 0, "inventory": 2} | terms)["session_id"])
    for place, bidder in enumerate(bidders):
        assert bidder.bid(session_id, 900 - 100 * place).status == 200
    assert admin.put(f"/api/admin/sessions/{session_id}/close").status == 202
    final_results(admin, session_id)
    return session_id
