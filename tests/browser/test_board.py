"""What members and admins see and do, in Chromium."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Route, WebSocketRoute, expect

from core.config import PROJECT_ROOT
from dev.stack import Stack, wait_until
from tests.browser.visitor import TOKEN_KEY, Visitor
from tests.support.http.client import RESULTS_TIMEOUT_SECONDS, Client

# Generous: the machine may be busy.
TIMEOUT_MS = 30_000
SETTLED_MS = 200  # a page needs no longer to say that a request failed
PAGE_LIMIT_BYTES = 100 * 1024
USABLE_LIMIT_SECONDS = 5.0
BOARD_ROWS = 50
UNREAD = "/api/notifications?unread=true"
OWN_ACCOUNT = "**/api/auth/me"
KEPT_TOKEN = f"sessionStorage.getItem({TOKEN_KEY!r})"
OWN_PLACE = "**/api/leaderboard/*/me"
PACED = """async () => {
  const { throttle } = await import("/board/throttle.js");
  window.runs = 0;
  const call = throttle(1000, async () => { window.runs += 1; });
  for (let at = 0; at < 5; at += 1) call();
}"""
POLLS = "**/api/leaderboard/**"
NEVER_TIMES_OUT = "AbortSignal.timeout = () => new AbortController().signal"
COUNT_POLLS = f"""
  {NEVER_TIMES_OUT};
  const plain = window.fetch;
  let polls = window.mostPolls = 0;
  window.fetch = (path, options) => {{
    if (!path.startsWith("/api/leaderboard/")) return plain(path, options);
    window.mostPolls = Math.max(window.mostPolls, ++polls);
    return plain(path, options).finally(() => (polls -= 1));
  }};
"""
MARKUP = "<img src=x onerror=alert(1)>"

Visit = Callable[..., Visitor]
NewSession = Callable[..., dict[str, Any]]
expect.set_options(timeout=TIMEOUT_MS)


def sign_up(visitor: Visitor, username: str) -> None:
    form = visitor.go("/#/account").page.get_by_role("form", name="Sign up")
    form.get_by_label("Username").fill(username)
    form.get_by_label("E-mail").fill(f"{uuid4().hex}@example.com")
    form.get_by_label("Password").fill("secret-word")
    form.get_by_role("button").click()
    expect(visitor.page.get_by_role("button", name="Sign out")).to_be_visible()


def test_member_signs_up_bids_and_sees_rank_fall_without_reload(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=1)["session_id"]
    visitor = visit()
    sign_up(visitor, f"ada-{uuid4().hex}")
    visitor.watch(session_id).bid(150)
    expect(visitor.standing).to_contain_text("1st place")
    assert member().bid(session_id, 5000).status == 200
    expect(visitor.standing).to_contain_text("2nd place with 150.00: not winning")
    expect(visitor.page.locator("#step")).to_contain_text("to reach 1st place")


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
    expect(visitor.standing).to_contain_text(f"{BOARD_ROWS + 1}st place with 150.00")

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
    expect(visitor.standing).to_contain_text(f"{BOARD_ROWS + 1}st place with 160.00")
    question.fulfill(json={"rank": 77, "price": 150, "is_winner": False})
    answer = first(questions, visitor)
    expect(visitor.standing).to_contain_text(f"{BOARD_ROWS + 1}st place with 160.00")
    answer.fulfill(json={"rank": 78, "price": 160, "is_winner": False})
    expect(visitor.standing).to_contain_text("78th place with 160.00")


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
    expect(visitor.page.locator("#step")).to_have_text("Bid 200.01 to reach 1st place")
    visitor.bid(200.01)
    expect(visitor.standing).to_contain_text("1st place")


def test_countdown_reaches_zero_and_the_results_appear(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=1, duration_minutes=0.1)["session_id"]
    bidder = member()
    assert bidder.bid(session_id, 321.5).status == 200
    visitor = visit(bidder).watch(session_id)
    expect(visitor.page.locator(".timer.last")).to_contain_text("left")
    results = visitor.page.locator("#results")
    expect(results).to_contain_text("Final price 321.50")
    expect(visitor.page.locator(".timer")).to_have_text("Ended")


def test_admin_creates_and_closes_a_session(visit: Visit, admin: Client) -> None:
    visitor = visit(admin).go("/#/admin")
    form = visitor.page.get_by_role("form", name="New session")
    form.get_by_label("Name").fill("A new lamp")
    form.get_by_role("button").click()
    expect(visitor.page.get_by_role("heading", name="A new lamp")).to_be_visible()
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
    expect(visitor.rows.first).to_contain_text("150.00")
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


class Gate:
    """What a page's WebSockets go through: it can be shut, while requests are answered."""

    def __init__(self, visitor: Visitor) -> None:
        self.is_open = True
        self._passed: list[WebSocketRoute] = []
        visitor.page.route_web_socket("**/ws/*", self._take)

    def shut(self) -> None:
        self.is_open = False
        for socket in self._passed:
            socket.close(code=1012)

    def _take(self, socket: WebSocketRoute) -> None:
        if self.is_open:
            self._passed.append(socket)
            socket.connect_to_server()
        else:
            socket.close(code=1013)


def first(held: list[Route], visitor: Visitor) -> Route:
    """The request that is held back, once it is there."""
    while not held:
        visitor.page.wait_for_timeout(SETTLED_MS)
    return held.pop()


@pytest.mark.parametrize("answer", ["none", "cut"])
def test_bid_without_an_answer_is_said_to_be_uncertain_and_can_be_sent_again(
    visit: Visit, new_session: NewSession, member: Callable[..., Client], answer: str
) -> None:
    visitor = visit(member()).watch(new_session()["session_id"])

    def lose(route: Route) -> None:
        if answer == "none":
            route.abort()
        else:
            route.fulfill(status=200, content_type="application/json", body='{"rank": 1,')

    visitor.page.route("**/api/bid", lose)
    visitor.bid(150)
    alert = visitor.page.get_by_role("form", name="Bid").get_by_role("alert")
    expect(alert).to_contain_text("couldn't confirm your bid. Tap again")
    expect(visitor.standing).to_be_empty()
    expect(visitor.page.locator("#notice")).to_be_hidden()
    visitor.page.unroute("**/api/bid")
    visitor.page.get_by_role("button", name="Place bid").click()
    expect(visitor.standing).to_contain_text("1st place with 150.00")
    expect(alert).to_be_hidden()
    visitor.forgive()


def test_member_stays_one_when_the_server_cannot_say_who_it_is(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    new_session()
    visitor = visit(member())
    visitor.page.route(OWN_ACCOUNT, lambda route: route.fulfill(status=503), times=1)
    visitor.go()
    expect(visitor.page.get_by_role("button", name="Sign out")).to_be_visible()
    visitor.forgive()


def test_wrong_password_does_not_take_a_token_away(
    visit: Visit, member: Callable[..., Client]
) -> None:
    own = member()
    visitor = visit(own)
    visitor.page.route(OWN_ACCOUNT, lambda route: route.fulfill(status=503))
    form = visitor.go("/#/account").page.get_by_role("form", name="Sign in")
    form.get_by_label("Username").fill("somebody")
    form.get_by_label("Password").fill("not-the-word")
    form.get_by_role("button").click()
    expect(form.get_by_role("alert")).not_to_be_empty()
    assert visitor.page.evaluate(KEPT_TOKEN) == own.token
    visitor.page.unroute(OWN_ACCOUNT)
    expect(visitor.page.get_by_role("button", name="Sign out")).to_be_visible()
    visitor.forgive()


def test_token_that_is_no_good_is_forgotten(visit: Visit, member: Callable[..., Client]) -> None:
    own = member()
    own.token = f"{own.token}x"
    visitor = visit(own).go()
    expect(visitor.page.get_by_role("link", name="Sign in")).to_be_visible()
    assert visitor.page.evaluate(KEPT_TOKEN) is None
    visitor.forgive()


def test_session_that_is_opened_early_counts_from_its_new_start(
    visit: Visit, new_session: NewSession, admin: Client
) -> None:
    later = datetime.now(UTC) + timedelta(minutes=30)
    session_id = new_session(start_time=later.isoformat())["session_id"]
    visitor = visit().watch(session_id)
    expect(visitor.page.locator(".timer")).to_contain_text("Starts in")
    expect(visitor.page.locator("#state")).to_have_text("Live")
    opened = admin.put(f"/api/admin/sessions/{session_id}/activate").json
    start = datetime.fromisoformat(opened["start_time"])
    assert start < later
    milliseconds = str(int(start.timestamp() * 1000))
    expect(visitor.page.locator(".timer")).to_have_attribute("data-start", milliseconds)
    expect(visitor.page.locator(".timer")).to_contain_text("left")


def test_list_that_changes_leaves_the_keyboard_where_it_is(
    visit: Visit, new_session: NewSession
) -> None:
    session_id = new_session(name="The first")["session_id"]
    visitor = visit().go()
    visitor.page.get_by_role("link", name="The first").first.focus()
    new_session(name=(name := f"A new one {uuid4().hex}"))
    expect(visitor.page.get_by_role("link", name=name)).to_be_visible()
    assert visitor.page.evaluate("document.activeElement.hash") == f"#/session/{session_id}"


@pytest.fixture
def told(new_session: NewSession, member: Callable[..., Client], admin: Client) -> Client:
    """A member with news of one session."""
    session_id, bidder = new_session()["session_id"], member()
    assert bidder.bid(session_id, 150).status == 200
    admin.put(f"/api/admin/sessions/{session_id}/close")
    assert wait_until(lambda: bool(bidder.get(UNREAD).json), RESULTS_TIMEOUT_SECONDS)
    return bidder


def test_news_that_is_opened_is_read(visit: Visit, told: Client) -> None:
    visitor = visit(told).go()
    visitor.page.locator("#news").get_by_role("link").click()
    expect(visitor.page.locator("#news")).to_be_hidden()
    expect(visitor.page.locator("#results")).to_contain_text("Final price 150.00")
    assert told.get(UNREAD).json == []


def test_news_that_comes_after_the_member_left_is_nobodys(visit: Visit, told: Client) -> None:
    visitor = visit(told)
    held: list[Route] = []
    visitor.page.route("**/api/notifications*", lambda route: held.append(route))  # noqa: PLW0108
    late = first(held, visitor.go())
    answer = visitor.page.request.get(
        f"{visitor.origin}{UNREAD}", headers={"Authorization": f"Bearer {told.token}"}
    )
    visitor.page.get_by_role("button", name="Sign out").click()
    expect(visitor.page.get_by_role("link", name="Sign in")).to_be_visible()
    with visitor.page.expect_event("requestfinished", lambda request: UNREAD in request.url):
        late.fulfill(response=answer)
    visitor.page.wait_for_timeout(SETTLED_MS)
    expect(visitor.page.locator("#news")).to_be_hidden()


def test_names_with_markup_are_text(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session = new_session(name=MARKUP, description=MARKUP)
    visitor = visit()
    sign_up(visitor, name := f"<b>{uuid4().hex}</b>")
    visitor.watch(session["session_id"]).bid(150)
    expect(visitor.page.locator("tr.own .name")).to_have_text(name)
    assert visitor.page.locator("#board b").count() == 0
    expect(visitor.page.locator("h1")).to_have_text(MARKUP)
    assert visitor.page.locator("main img").count() == 0


def test_bid_by_keyboard_alone(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    visitor = visit(member()).watch(new_session()["session_id"])
    for _ in range(20):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("document.activeElement.name") == "price":
            break
    visitor.page.keyboard.type("175")
    visitor.page.keyboard.press("Enter")
    expect(visitor.standing).to_contain_text("175.00")


def test_refusal_is_shown_in_the_servers_words(
    visit: Visit, new_session: NewSession, member: Callable[..., Client], admin: Client
) -> None:
    session_id = new_session()["session_id"]
    visitor = visit(member()).watch(session_id)
    admin.put(f"/api/admin/sessions/{session_id}/deactivate")
    visitor.bid(150)
    expect(visitor.page.get_by_role("form", name="Bid").get_by_role("alert")).not_to_be_empty()
    [said] = visitor.forgive()
    assert "409" in said


def test_page_asks_nobody_else_and_complains_of_nothing(
    visit: Visit, new_session: NewSession, admin: Client
) -> None:
    visitor = visit(admin).watch(new_session()["session_id"])
    visitor.bid(150)
    expect(visitor.standing).to_contain_text("1st place")
    visitor.go("/#/admin")
    visitor.page.locator(".stats dd").first.wait_for()
    assert len(visitor.requested) > 5
    visitor.check()


def test_content_security_policy_stops_inline_script(visit: Visit) -> None:
    visitor = visit().go()
    visitor.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.injected = 1'}))"
    )
    assert visitor.page.evaluate("window.injected === undefined")
    [said] = visitor.forgive()
    assert "Content Security Policy" in said


@pytest.mark.parametrize(
    "script",
    [
        "document.body.append(Object.assign(document.createElement('script'), {textContent: '1'}))",
        "document.body.setAttribute('style', 'color: red')",
        "fetch('http://127.0.0.1:1/').catch(() => 0)",
        "console.warn('something is odd')",
        "setTimeout(() => { throw new Error('a bug') })",
    ],
)
def test_control_a_complaint_of_the_browser_fails_the_test(visit: Visit, script: str) -> None:
    """What `visit` does for every visitor at the end of a test."""
    visitor = visit().go()
    visitor.page.evaluate(f"() => {{ {script} }}")
    visitor.page.wait_for_timeout(200)
    with pytest.raises(AssertionError):
        visitor.check()
    assert visitor.forgive()


def test_page_is_small_and_usable_soon(visit: Visit, new_session: NewSession) -> None:
    files = (PROJECT_ROOT / "web" / "static" / "board").iterdir()
    assert sum(file.stat().st_size for file in files) <= PAGE_LIMIT_BYTES
    new_session()
    visitor = visit().go()
    visitor.page.locator(".card").first.wait_for()
    seconds = visitor.page.evaluate("performance.now()") / 1000
    print(f"usable after {seconds:.2f} s")  # noqa: T201 - reported
    assert seconds < USABLE_LIMIT_SECONDS
