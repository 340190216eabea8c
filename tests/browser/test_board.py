"""What members and admins see and do, in Chromium."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import Route, expect

from dev.stack import Stack
from tests.browser.board import (
    BOARD_ROWS,
    COUNT_POLLS,
    NEVER_TIMES_OUT,
    OWN_PLACE,
    PACED,
    POLLS,
    SETTLED_MS,
    Gate,
    NewSession,
    Visit,
    first,
    sign_up,
)
from tests.browser.visitor import Visitor
from tests.support.http.client import Client


def test_member_signs_up_bids_and_sees_rank_fall_without_reload(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=1)["session_id"]
    visitor = visit()
    sign_up(visitor, f"ada-{uuid4().hex}")
    visitor.watch(session_id).bid(150)
    expect(visitor.standing).to_contain_text("1st place")
    assert member().bid(session_id, 5000).status == 200
    expect(visitor.standing).to_contain_text("2nd place with €150.00: not winning")
    expect(visitor.page.locator("#step")).to_contain_text("for 1st place")


def test_raise_that_would_lower_the_score_is_not_placed_and_the_page_says_what_would_help(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=1, beta=1_000_000)["session_id"]
    visitor = visit(member()).watch(session_id)
    visitor.bid(150)
    expect(visitor.standing).to_contain_text("1st place with €150.00: winning")
    visitor.bid(160)
    expect(dialog := visitor.page.get_by_role("dialog")).to_contain_text("loses your early bonus")
    dialog.get_by_role("button", name="Cancel").click()
    problem = visitor.page.get_by_role("form", name="Bid").get_by_role("alert")
    expect(problem).to_contain_text("Not placed: €160.00 would not improve your bid")
    expect(problem).to_contain_text("or more.")
    expect(visitor.standing).to_contain_text("1st place with €150.00: winning")
    assert visitor.forgive()

    visitor.bid(9_000_000)
    dialog.get_by_role("button", name="Bid €9,000,000.00").click()
    expect(visitor.standing).to_contain_text("1st place with €9,000,000.00: winning")
    expect(problem).to_be_hidden()


def test_price_below_the_own_standing_one_is_refused_in_plain_words(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=1, beta=0)["session_id"]
    visitor = visit(member()).watch(session_id)
    visitor.bid(200)
    expect(visitor.standing).to_contain_text("1st place with €200.00: winning")
    visitor.bid(150)
    expect(visitor.page.get_by_role("alert")).to_contain_text("can only be raised")
    expect(visitor.standing).to_contain_text("1st place with €200.00: winning")
    assert visitor.forgive()


@pytest.fixture
def outbid(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> tuple[Visitor, Callable[[float], None]]:
    """A bidder further down than the board shows, and what makes the leader bid and be seen."""
    session_id = new_session(inventory=1, beta=0)["session_id"]
    own, leader = member(), member()
    assert own.bid(session_id, 150).status == 200
    for bidder in (leader, *(member() for _ in range(BOARD_ROWS - 1))):
        assert bidder.bid(session_id, 300).status == 200
    visitor = visit(own).watch(session_id)
    expect(visitor.standing).to_contain_text(f"{BOARD_ROWS + 1}st place with €150.00")

    def lead(price: float) -> None:
        assert leader.bid(session_id, price).status == 200
        expect(visitor.rows.first).to_contain_text(f"{price:.2f}")

    return visitor, lead


def test_place_that_the_board_does_not_show_is_one_question_at_a_time(
    outbid: tuple[Visitor, Callable[[float], None]],
) -> None:
    visitor, lead = outbid
    questions: list[Route] = []
    visitor.page.route(OWN_PLACE, lambda route: questions.append(route))  # noqa: PLW0108
    for price in (301, 302, 303, 304):
        lead(price)
    [question] = (first(questions, visitor), *questions)
    lead(305)
    question.fulfill(json={"rank": 77, "price": 150, "is_winner": False})
    expect(visitor.standing).to_contain_text("77th place")
    first(questions, visitor).fulfill(json={"rank": 78, "price": 150, "is_winner": False})
    expect(visitor.standing).to_contain_text("78th place")


def test_answer_from_before_a_bid_does_not_hide_the_bid(
    outbid: tuple[Visitor, Callable[[float], None]],
) -> None:
    visitor, lead = outbid
    questions: list[Route] = []
    visitor.page.route(OWN_PLACE, lambda route: questions.append(route))  # noqa: PLW0108
    lead(301)
    question = first(questions, visitor)
    visitor.bid(160)
    expect(visitor.standing).to_contain_text(f"{BOARD_ROWS + 1}st place with €160.00")
    question.fulfill(json={"rank": 77, "price": 150, "is_winner": False})
    answer = first(questions, visitor)
    expect(visitor.standing).to_contain_text(f"{BOARD_ROWS + 1}st place with €160.00")
    answer.fulfill(json={"rank": 78, "price": 160, "is_winner": False})
    expect(visitor.standing).to_contain_text("78th place with €160.00")


def test_many_calls_make_one_run_in_a_second_and_the_last_is_served(visit: Visit) -> None:
    page = visit().go().page
    page.clock.install(time=0)
    # Only the test's own steps count, however slow the machine.
    page.clock.pause_at(1)
    page.evaluate(PACED)
    counts = []
    for milliseconds in (0, 900, 200, 900, 2000):
        page.clock.run_for(milliseconds)
        counts.append(page.evaluate("window.runs"))
    assert counts == [1, 1, 2, 2, 2]


def test_step_shown_as_missing_takes_the_rank(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=1, beta=0)["session_id"]
    other, own = member(), member()
    assert other.bid(session_id, 200).status == 200
    assert own.bid(session_id, 150).status == 200
    visitor = visit(own).watch(session_id)
    expect(visitor.page.locator("#step")).to_have_text("Bid €200.01 for 1st place")
    visitor.bid(200.01)
    expect(visitor.standing).to_contain_text("1st place")


def test_countdown_reaches_zero_and_the_results_appear(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=1, duration_minutes=0.25)["session_id"]
    bidder = member()
    assert bidder.bid(session_id, 321.5).status == 200
    visitor = visit(bidder).watch(session_id)
    expect(visitor.page.locator(".timer.last")).to_contain_text("left")
    results = visitor.page.locator("#results")
    expect(results).to_contain_text("Final price €321.50")
    expect(visitor.page.locator(".timer")).to_have_text("Ended")


def test_admin_pauses_and_closes_a_session(
    visit: Visit, admin: Client, new_session: NewSession
) -> None:
    visitor = visit(admin).watch(new_session()["session_id"])
    visitor.page.get_by_role("button", name="Deactivate").click()
    expect(visitor.page.locator(".timer")).to_contain_text("Paused")
    visitor.page.get_by_role("button", name="Activate", exact=True).click()
    expect(visitor.page.locator(".timer")).not_to_contain_text("Paused")
    visitor.page.get_by_role("button", name="Close").click()
    expect(visitor.page.locator("#results")).to_contain_text("0 of 0 bidders won")


def test_dropped_connection_comes_back_by_itself(
    visit: Visit, new_session: NewSession, member: Callable[..., Client], stack: Stack
) -> None:
    session_id = new_session()["session_id"]
    visitor = visit().watch(session_id)
    expect(visitor.page.locator("#state")).to_have_text("Live")
    stack["web"].kill()
    expect(visitor.page.locator("#state")).to_contain_text("Connection lost")
    stack.start()
    assert member().bid(session_id, 150).status == 200
    expect(visitor.rows.first).to_contain_text("€150.00")
    expect(visitor.page.locator("#notice")).to_be_hidden()
    # Chromium names each request that failed meanwhile.
    assert all("Failed to load" in said or "WebSocket" in said for said in visitor.forgive())


def test_socket_that_comes_back_outlives_polls_that_fail(
    visit: Visit, new_session: NewSession, stack: Stack
) -> None:
    visitor = visit().watch(new_session()["session_id"])
    expect(visitor.page.locator("#state")).to_have_text("Live")
    polls: list[Route] = []
    visitor.page.route(POLLS, lambda route: polls.append(route))  # noqa: PLW0108 - no builtins
    visitor.page.evaluate(NEVER_TIMES_OUT)
    stack["web"].kill()
    first(polls, visitor).abort()
    expect(visitor.page.locator("#notice")).to_contain_text("Can't reach the server")
    late = first(polls, visitor)
    stack.start()
    expect(visitor.page.locator("#notice")).to_be_hidden()
    with visitor.page.expect_event("requestfailed"):
        late.abort()
    visitor.page.wait_for_timeout(SETTLED_MS)
    expect(visitor.page.locator("#state")).to_have_text("Live")
    expect(visitor.page.locator("#notice")).to_be_hidden()
    visitor.forgive()


def test_socket_lost_during_a_poll_starts_no_second_chain_of_them(
    visit: Visit, new_session: NewSession
) -> None:
    visitor = visit()
    visitor.page.add_init_script(COUNT_POLLS)
    polls: list[Route] = []
    visitor.page.route(POLLS, lambda route: polls.append(route))  # noqa: PLW0108 - no builtins
    gate = Gate(visitor)
    visitor.watch(new_session()["session_id"])
    expect(visitor.page.locator("#state")).to_have_text("Live")
    slow = first(polls, visitor)
    gate.shut()
    slow.continue_()
    expect(visitor.page.locator("#state")).to_have_text("Updating every second")
    first(polls, visitor).continue_()
    assert visitor.page.evaluate("window.mostPolls") == 1
    visitor.page.unroute(POLLS)
    gate.is_open = True
    expect(visitor.page.locator("#state")).to_have_text("Live")
    visitor.forgive()


@pytest.mark.parametrize("has_sockets", [True, False])
def test_cancelled_session_says_so_at_once_and_to_who_comes_later(
    visit: Visit,
    new_session: NewSession,
    member: Callable[..., Client],
    admin: Client,
    has_sockets: bool,
) -> None:
    session_id, client = new_session()["session_id"], member()
    client.bid(session_id, 150)
    watching = visit(client)
    if not has_sockets:
        Gate(watching).is_open = False
    watching.watch(session_id)
    expect(watching.rows).to_contain_text(["150.00"])
    admin.put(f"/api/admin/sessions/{session_id}/cancel", reason="Damaged.")
    for visitor in (watching, visit(client).watch(session_id)):
        expect(visitor.page.locator("#state")).to_have_text("Cancelled")
        expect(visitor.page.locator(".timer")).to_have_text("Cancelled")
        expect(visitor.page.get_by_role("button", name="Place bid")).to_be_hidden()
    if not has_sockets:
        watching.forgive()
