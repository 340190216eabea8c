"""The bid in one tap, and the questions before a bid that looks like a mistake."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Route, expect

from tests.browser.board import Link, NewSession, Visit
from tests.browser.visitor import Visitor
from tests.support.http.client import Client

TRAVEL_MS = 1000


def quick(visitor: Visitor) -> Locator:
    return visitor.page.locator("#step")


def bids_sent(visitor: Visitor) -> int:
    return sum(url.endswith("/api/bid") for url in visitor.requested)


def test_one_tap_wins_though_the_bonus_falls_while_the_bid_travels(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=1, beta=20_000)["session_id"]
    assert member().bid(session_id, 150).status == 200
    visitor = visit(member()).watch(session_id)

    def travel(route: Route) -> None:
        visitor.page.wait_for_timeout(TRAVEL_MS)
        route.continue_()

    visitor.page.route("**/api/bid", travel)
    quick(visitor).click()
    expect(visitor.standing).to_contain_text("1st place")
    expect(quick(visitor)).to_have_count(0)
    assert visitor.page.evaluate("document.activeElement.id") == "standing"


def test_the_price_of_the_tap_follows_the_falling_bonus(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=1, beta=20_000)["session_id"]
    assert member().bid(session_id, 150).status == 200
    visitor = visit(member()).watch(session_id)
    expect(quick(visitor)).to_contain_text("for 1st place")
    before = quick(visitor).inner_text()
    expect(quick(visitor)).not_to_have_text(before)


def test_a_winner_sees_the_margin_and_no_reason_to_bid_more(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id, own = new_session(inventory=1, beta=0)["session_id"], member()
    assert own.bid(session_id, 400).status == 200
    visitor = visit(own).watch(session_id)
    margin = visitor.page.locator("#margin")
    expect(margin).to_have_text("Nobody is left without an item. You need not bid more.")
    assert member().bid(session_id, 182).status == 200
    expect(margin).to_have_text("Winning by 109 points. You need not bid more.")
    expect(quick(visitor)).to_have_count(0)
    visitor.page.get_by_label("Your price").fill("500")
    told = "252.00 points now: 1st place. You are winning already with less."
    expect(visitor.page.locator("#preview")).to_have_text(told)


def test_a_price_of_three_times_what_is_needed_is_asked_about_once(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    visitor = visit(member()).watch(new_session(beta=0)["session_id"])
    dialog = visitor.page.get_by_role("dialog")
    visitor.bid(299.99)
    expect(visitor.standing).to_contain_text("€299.99")
    visitor.bid(900)
    expect(dialog).to_contain_text("€900.00 is 3 times what is needed now, €299.99.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert bids_sent(visitor) == 1
    visitor.page.route("**/api/bid", lambda route: route.abort(), times=1)
    visitor.bid(900)
    dialog.get_by_role("button", name="Bid €900.00").click()
    expect(visitor.page.get_by_role("alert").last).to_contain_text("Tap again")
    visitor.bid(900)
    expect(visitor.standing).to_contain_text("1st place with €900.00")
    visitor.forgive()


@pytest.mark.parametrize("is_agreed", [True, False])
def test_a_lower_price_is_asked_about_where_it_is_allowed(
    visit: Visit, new_session: NewSession, member: Callable[..., Client], is_agreed: bool
) -> None:
    session_id = new_session(inventory=1, beta=0, allow_lower_bids=True)["session_id"]
    own = member()
    for bidder, price in ((own, 200), (member(), 180)):
        assert bidder.bid(session_id, price).status == 200
    visitor = visit(own).watch(session_id)
    expect(visitor.standing).to_contain_text("1st place")
    visitor.bid(150)
    dialog = visitor.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Lowering to €150.00: 1st → 2nd. It has 77.00 points")
    dialog.get_by_role("button", name="Place it anyway" if is_agreed else "Cancel").click()
    if is_agreed:
        expect(visitor.standing).to_contain_text("2nd place with €150.00: not winning")
    else:
        alert = visitor.page.get_by_role("form", name="Bid").get_by_role("alert")
        expect(alert).to_contain_text("Not placed")
        expect(visitor.standing).to_contain_text("1st place with €200.00: winning")
    visitor.forgive()


def test_a_bid_whose_answer_is_lost_is_sent_again_at_the_same_price_and_counts_once(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=1, beta=1000)["session_id"]
    assert member().bid(session_id, 150).status == 200
    visitor = visit(member())
    link = Link(visitor)
    visitor.watch(session_id)

    def lose(route: Route) -> None:
        link.is_silent = True
        assert route.fetch().status == 200
        route.abort()

    visitor.page.route("**/api/leaderboard/**", lambda route: route.abort())
    visitor.page.route("**/api/bid", lose, times=1)
    quick(visitor).click()
    again = visitor.page.get_by_role("button", name="Send")
    expect(again).to_be_visible()
    alert = visitor.page.get_by_role("form", name="Bid").get_by_role("alert")
    expect(alert).to_contain_text("couldn't confirm your bid. Tap again")
    with visitor.page.expect_response("**/api/bid") as response:
        again.click()
    assert response.value.json()["replayed"]
    expect(visitor.standing).to_contain_text("1st place")
    expect(alert).to_be_hidden()
    visitor.forgive()


def test_a_board_with_the_unconfirmed_bid_confirms_it(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id, own = new_session(inventory=1, beta=0)["session_id"], member()
    visitor = visit(own).watch(session_id)
    visitor.page.route("**/api/bid", lambda route: route.abort())
    visitor.bid(150)
    again = visitor.page.get_by_role("button", name="Send €150.00 again")
    expect(again).to_be_visible()
    assert own.bid(session_id, 150).status == 200
    expect(visitor.standing).to_contain_text("1st place with €150.00")
    expect(again).to_have_count(0)
    expect(visitor.page.get_by_role("form", name="Bid").get_by_role("alert")).to_be_hidden()
    visitor.forgive()
