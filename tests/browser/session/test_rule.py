"""The points of a price, before it is sent."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.board import NewSession, Visit
from tests.browser.visitor import Visitor
from tests.support.http.client import Client

RACE = 1_000_000  # a beta with which a second is worth more than any price here


def type_price(visitor: Visitor, text: str) -> None:
    visitor.page.get_by_label("Your price").fill(text)


@pytest.fixture
def losing(visit: Visit, new_session: NewSession, member: Callable[..., Client]) -> Visitor:
    """A member in third place of two, where only prices count."""
    session_id, own = new_session(inventory=2, beta=0)["session_id"], member()
    for bidder, price in ((member(), 400), (member(), 300), (own, 200)):
        assert bidder.bid(session_id, price).status == 200
    visitor = visit(own).watch(session_id)
    expect(visitor.standing).to_contain_text("3rd place")
    return visitor


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("350", "177.00 points now: 2nd place, winning."),
        ("250", "127.00 points now: 3rd place, not winning."),
        ("400", "202.00 points now: 2nd place, winning."),
        ("400.01", "202.01 points now: 1st place, winning."),
        ("99.99", "The starting price is €100.00."),
        ("200", "This is your bid already. Sending it again changes nothing."),
        ("150", "Your bid of €200.00 can only be raised."),
        ("a lot", ""),
    ],
)
def test_a_typed_price_shows_its_points_and_place_before_it_is_sent(
    losing: Visitor, typed: str, told: str
) -> None:
    type_price(losing, typed)
    expect(losing.page.locator("#preview")).to_have_text(told)
    assert not [url for url in losing.requested if url.endswith("/api/bid")]


def test_the_rule_has_the_numbers_of_this_moment(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(alpha=0.5, beta=RACE, gamma=3)["session_id"]
    rule = visit(member()).watch(session_id).page.locator("#rule")
    expect(rule).to_contain_text("Points now = 0.5 \u00d7 price + ")
    expect(rule).to_contain_text(re.compile(r" early bonus \+ 3 loyalty\. The early bonus falls"))
    before = rule.inner_text()
    expect(rule).not_to_have_text(before)
    guest = visit().watch(session_id)
    expect(guest.page.locator("#rule")).to_contain_text("loyalty for earlier sessions")
    expect(guest.page.get_by_role("link", name="Sign in to bid")).to_be_visible()


def test_a_raise_that_loses_the_early_bonus_says_so_while_it_is_typed(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id, own = new_session(inventory=1, beta=RACE)["session_id"], member()
    for bidder in (own, member()):
        assert bidder.bid(session_id, 150).status == 200
    visitor = visit(own).watch(session_id)
    expect(visitor.standing).to_contain_text("1st place")
    type_price(visitor, "160")
    told = "Raising to €160.00 loses your early bonus: 1st → 2nd."
    expect(visitor.page.locator("#preview")).to_have_text(told)


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ({}, "If you win, you pay your bid, in EUR."),
        ({"pricing": "second_score"}, "you pay the lowest price, in EUR, that would still have"),
    ],
)
def test_what_a_winner_pays_stands_beside_the_price(
    visit: Visit,
    new_session: NewSession,
    member: Callable[..., Client],
    terms: dict[str, Any],
    told: str,
) -> None:
    visitor = visit(member()).watch(new_session(**terms)["session_id"])
    field = visitor.page.get_by_label("Your price (EUR)")
    expect(field).to_have_accessible_description(re.compile(re.escape(told)))
