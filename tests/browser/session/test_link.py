"""What the page says of its link to the server."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser.board import NEVER_TIMES_OUT, POLLS, SETTLED_MS, Link, NewSession, Visit
from tests.browser.visitor import Visitor
from tests.support.http.client import Client

LOST = "Connection lost"
PATIENCE = 100  # pauses, for a busy machine
# Every text that the standing has from now on.
RECORD = """() => {
  const standing = document.getElementById("standing");
  window.told = [];
  new MutationObserver(() => window.told.push(standing.textContent))
    .observe(standing, { childList: true, characterData: true, subtree: true });
}"""

Winner = tuple[Visitor, Link, str]


@pytest.fixture
def winner(visit: Visit, new_session: NewSession, member: Callable[..., Client]) -> Any:
    """A member who is winning, on a page with a clock of its own; terms of the session."""

    def make(**terms: Any) -> Winner:
        session_id = new_session(inventory=1, beta=0, **terms)["session_id"]
        own = member()
        assert own.bid(session_id, 150).status == 200
        visitor = visit(own)
        visitor.page.add_init_script(NEVER_TIMES_OUT)
        link = Link(visitor)
        visitor.watch(session_id)
        expect(visitor.standing).to_have_text("You are in 1st place with €150.00: winning.")
        expect(visitor.page.locator("#state")).to_have_text("Live")
        return visitor, link, session_id

    return make


def freeze(visitor: Visitor) -> None:
    """From now on only `run_for` moves the page's clock."""
    visitor.page.clock.install()
    visitor.page.reload()
    expect(visitor.page.locator("#state")).to_have_text("Live")
    expect(visitor.standing).to_contain_text("winning")
    visitor.page.clock.pause_at(visitor.page.evaluate("Date.now() / 1000 + 0.5"))
    visitor.page.clock.run_for(300)


# A ping may be on its way when the link falls silent, for 300 ms at most.
@pytest.mark.parametrize(
    ("minutes", "limit_ms", "too_soon_ms"), [(60, 4900, 1600), (0.9, 1950, 500)]
)
def test_silent_link_is_lost_within_seconds_and_sooner_in_the_last_minute(
    winner: Callable[..., Winner], minutes: float, limit_ms: int, too_soon_ms: int
) -> None:
    visitor, link, _ = winner(duration_minutes=minutes)
    freeze(visitor)
    visitor.page.route(POLLS, lambda _: None)
    link.is_silent = True
    visitor.page.clock.run_for(too_soon_ms)
    expect(visitor.page.locator("#state")).to_have_text("Live")
    visitor.page.clock.run_for(limit_ms - too_soon_ms)
    expect(visitor.page.locator("#state")).to_contain_text(LOST)
    expect(visitor.standing).to_have_text("Last known: 1st place with €150.00. Checking …")
    assert "stale" in (visitor.standing.get_attribute("class") or "")
    assert "stale" in (visitor.page.locator("#board").get_attribute("class") or "")
    visitor.forgive()


def test_quiet_link_that_answers_is_live(winner: Callable[..., Winner]) -> None:
    visitor, link, _ = winner()
    freeze(visitor)
    for round_ in range(1, 4):
        visitor.page.clock.run_for(2600)
        for _ in range(PATIENCE):
            if link.pongs < round_:
                visitor.page.wait_for_timeout(SETTLED_MS)
        assert link.pongs >= round_
        expect(visitor.page.locator("#state")).to_have_text("Live")


def test_after_a_lost_link_nobody_is_winning_before_the_place_is_known(
    winner: Callable[..., Winner], member: Callable[..., Client]
) -> None:
    visitor, link, session_id = winner()
    polls: list[Route] = []
    visitor.page.route(POLLS, lambda route: polls.append(route))  # noqa: PLW0108 - no builtins
    link.is_silent = True
    expect(visitor.page.locator("#state")).to_contain_text(LOST)
    expect(visitor.standing).to_have_text("Last known: 1st place with €150.00. Checking …")
    visitor.page.evaluate(RECORD)
    assert member().bid(session_id, 300).status == 200
    link.is_silent = False
    expect(visitor.page.locator("#state")).to_have_text("Live")
    expect(visitor.standing).to_have_text("You are in 2nd place with €150.00: not winning.")
    assert [text for text in visitor.page.evaluate("window.told") if ": winning" in text] == []
    visitor.forgive()


def test_offline_device_says_so_at_once_and_comes_back(winner: Callable[..., Winner]) -> None:
    visitor, _, _ = winner()
    visitor.page.context.set_offline(True)
    expect(visitor.page.locator("#state")).to_contain_text(LOST)
    expect(visitor.standing).to_contain_text("Last known: 1st place")
    visitor.page.context.set_offline(False)
    expect(visitor.page.locator("#state")).to_have_text("Live")
    expect(visitor.standing).to_have_text("You are in 1st place with €150.00: winning.")
    visitor.forgive()
