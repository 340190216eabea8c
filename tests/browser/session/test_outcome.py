"""What the page says after the end."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.board import NewSession, Visit
from tests.browser.visitor import Visitor
from tests.support.http.client import Client, final_results


@dataclass(frozen=True)
class Ended:
    """One item, two bidders: 400.00 won, 300.00 lost."""

    session_id: str
    winner: Client
    loser: Client


@pytest.fixture
def ended(new_session: NewSession, member: Callable[..., Client], admin: Client) -> Ended:
    session_id = new_session(inventory=1, beta=0)["session_id"]
    sale = Ended(session_id, member(), member())
    assert sale.winner.bid(session_id, 400).status == 200
    assert sale.loser.bid(session_id, 300).status == 200
    admin.put(f"/api/admin/sessions/{session_id}/close")
    final_results(admin, session_id)
    return sale


def outcome(visitor: Visitor) -> Locator:
    return visitor.page.locator("#outcome")


def test_the_winner_sees_what_to_pay_until_when_and_may_decline(visit: Visit, ended: Ended) -> None:
    visitor = visit(ended.winner).watch(ended.session_id)
    expect(visitor.standing).to_have_text("You finished in 1st place with €400.00: you won.")
    [offer] = ended.winner.get("/api/offers").json
    until = visitor.page.evaluate(
        "async (iso) => (await import('/board/lib/format.js')).moment(iso)", offer["expires_at"]
    )
    expect(outcome(visitor)).to_have_text(f"You won: pay €400.00 by {until}.")
    decline = visitor.page.get_by_role("button", name="Decline the item")
    decline.click()
    dialog = visitor.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    assert ended.winner.get("/api/offers").json[0]["state"] == "open"
    decline.click()
    dialog.get_by_role("button", name="Decline the item").click()
    expect(outcome(visitor)).to_have_text("You have declined your item.")
    expect(decline).to_have_count(0)
    assert ended.winner.get("/api/offers").json[0]["state"] == "declined"


def test_the_loser_sees_what_would_have_won_and_later_gets_the_item(
    visit: Visit, ended: Ended
) -> None:
    visitor = visit(ended.loser).watch(ended.session_id)
    expect(outcome(visitor)).to_have_text(
        "You finished 2nd of 2. The last winner had 202 points, you had 152:"
        " €100.01 more would have won."
    )
    [offer] = ended.winner.get("/api/offers").json
    assert ended.winner.put(f"/api/offers/{offer['offer_id']}/decline").status == 200
    again = visit(ended.loser).watch(ended.session_id)
    expect(outcome(again)).to_contain_text("You won: pay €300.00 by")


def test_the_result_appears_in_a_page_that_was_open(
    visit: Visit, new_session: NewSession, member: Callable[..., Client], admin: Client
) -> None:
    session_id, own = new_session(beta=0)["session_id"], member()
    assert own.bid(session_id, 150).status == 200
    visitor = visit(own).watch(session_id)
    expect(visitor.standing).to_contain_text("winning")
    admin.put(f"/api/admin/sessions/{session_id}/close")
    expect(outcome(visitor)).to_contain_text("You won: pay €150.00 by")
    expect(visitor.page.get_by_role("button", name="Place bid")).to_have_count(0)
    announcer = visitor.page.locator("#announcer")
    expect(announcer).to_contain_text("You finished in 1st place with €150.00: you won.")


def test_a_guest_sees_results_and_nothing_of_their_own(visit: Visit, ended: Ended) -> None:
    visitor = visit().watch(ended.session_id)
    expect(visitor.page.locator("#results")).to_contain_text("1 of 2 bidders won")
    expect(outcome(visitor)).to_have_count(0)
    expect(visitor.standing).to_have_count(0)
