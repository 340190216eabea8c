"""The console's sessions: list, forms, and what is done to a running one."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Route, expect

from tests.browser.board import NewSession, Visit
from tests.browser.console.boss import Boss, a_name
from tests.support.http.client import Client

NEW_YORK = "America/New_York"
PAGE = 20
CREATE = "**/api/admin/sessions/combined"
RATES = re.compile(r"Bids per second in the last 120 s, at most [1-9]")


@pytest.fixture
def boss(visit: Visit, admin: Client) -> Boss:
    return Boss(visit, admin)


def found(admin: Client, name: str) -> list[dict[str, object]]:
    sessions: list[dict[str, object]] = admin.get(
        f"/api/admin/sessions?search={name.replace(' ', '%20')}"
    ).json
    return sessions


def test_list_is_searched_filtered_and_paged_with_the_soonest_end_first(
    boss: Boss, new_session: NewSession, admin: Client
) -> None:
    tag = a_name("Batch")
    ids = [
        new_session(name=f"{tag} {n}", duration_minutes=100 - n)["session_id"]
        for n in range(PAGE + 1)
    ]
    boss.go().find(tag)
    links = boss.page.locator(".rows h2 a")
    expect(links).to_have_text([f"{tag} {n}" for n in range(PAGE, 0, -1)])
    boss.press("Next")
    expect(links).to_have_text([f"{tag} 0"])

    admin.put(f"/api/admin/sessions/{ids[3]}/deactivate")
    boss.page.get_by_label("Status").select_option("Paused")
    expect(links).to_have_text([f"{tag} 3"])
    boss.open(f"{tag} 3")
    expect(boss.page.get_by_role("heading", level=1)).to_have_text(f"{tag} 3")
    boss.page.go_back()
    expect(links).to_have_text([f"{tag} 3"])


def test_session_is_created_with_all_terms_at_the_local_time(visit: Visit, admin: Client) -> None:
    boss = Boss(visit, admin, timezone_id=NEW_YORK).go("new")
    start = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    offers_end = start + timedelta(days=9)
    name = a_name()
    texts = {
        "Name": name,
        "Description": "Brushed steel.\n2700 K",
        "Picture": "https://images.shop.example/lamp.jpg",
        "Starting price": "149.5",
        "Items": "7",
        "Start": local(start),
        "Minutes": "90",
        "Alpha (price)": "1",
        "Beta (speed)": "500",
        "Gamma (loyalty)": "3",
        "Minutes to pay": "720",
        "Last offers": local(offers_end),
    }
    form = boss.page.get_by_role("form", name="New session")
    for label, text in texts.items():
        form.get_by_label(label, exact=True).fill(text)
    form.get_by_label("Winners pay").select_option("The lowest winning price")
    form.get_by_label("Bids may be lowered").select_option("Yes")
    expect(form.get_by_text(f"Time zone: {NEW_YORK}.")).to_have_count(2)
    with boss.page.expect_request(CREATE) as request:
        boss.press("Create session")
    assert request.value.post_data_json["image_url"] == texts["Picture"]
    expect(boss.page.get_by_role("heading", level=1)).to_have_text(name)
    [session] = found(admin, name)
    expected = {
        "description": texts["Description"],
        "image_url": texts["Picture"],
        "upset_price": 149.5,
        "inventory": 7,
        "start_time": start.isoformat(),
        "end_time": (start + timedelta(minutes=90)).isoformat(),
        "alpha": 1.0,
        "beta": 500.0,
        "gamma": 3.0,
        "pricing": "second_score",
        "allow_lower_bids": True,
        "offer_minutes": 720.0,
        "offers_end": offers_end.isoformat(),
        "status": "scheduled",
    }
    assert {name: session[name] for name in expected} == expected


def local(moment: datetime) -> str:
    return moment.astimezone(ZoneInfo(NEW_YORK)).strftime("%Y-%m-%dT%H:%M:%S")


def test_refused_term_is_explained_beside_its_field_which_has_the_focus(boss: Boss) -> None:
    boss.go("new").page.get_by_label("Name", exact=True).fill(a_name())
    beta = boss.page.get_by_label("Beta (speed)")
    beta.fill("1e15")
    boss.press("Create session")
    expect(beta).to_be_focused()
    expect(beta).to_have_attribute("aria-invalid", "true")
    expect(boss.page.locator(".field").filter(has=beta)).to_contain_text("Raise alpha")
    expect(boss.page.get_by_text("Please correct what is marked.")).to_be_visible()
    assert "422" in "".join(boss.visitor.forgive())


def test_session_whose_answer_was_lost_is_created_once(boss: Boss, admin: Client) -> None:
    name = a_name()

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    boss.go("new").page.route(CREATE, lose, times=1)
    boss.page.get_by_label("Name", exact=True).fill(name)
    boss.press("Create session")
    expect(boss.page.get_by_text("We couldn't confirm this.")).to_be_visible()
    boss.press("Create session")
    expect(boss.page.get_by_role("heading", level=1)).to_have_text(name)
    assert len(found(admin, name)) == 1
    boss.visitor.forgive()


def test_edit_sends_what_was_changed_and_nothing_else(
    boss: Boss, new_session: NewSession, admin: Client
) -> None:
    start = datetime.now(UTC) + timedelta(days=1)
    before = new_session(name=a_name(), description="a\nb", start_time=start.isoformat())
    boss.go(before["session_id"], "edit")
    price = boss.page.get_by_label("Starting price")
    expect(price).to_have_value("100")
    price.fill("80")
    with boss.page.expect_request("**/api/admin/sessions/*") as request:
        boss.press("Save")
    assert request.value.post_data_json == {"version": before["version"], "upset_price": 80}
    expect(boss.page.get_by_role("button", name="Start now")).to_be_visible()
    after = admin.get(f"/api/sessions/{before['session_id']}").json
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"upset_price", "base_price", "version"}


def test_conflicting_edit_is_explained_and_overwrites_only_what_was_entered(
    boss: Boss, new_session: NewSession, admin: Client
) -> None:
    start = datetime.now(UTC) + timedelta(days=1)
    session = new_session(name=a_name(), start_time=start.isoformat())
    path = f"/api/admin/sessions/{session['session_id']}"
    boss.go(session["session_id"], "edit")
    boss.page.get_by_label("Starting price").fill("80")
    changed = admin.patch(path, version=session["version"], inventory=9, upset_price=70)
    assert changed.status == 200
    boss.press("Save")
    alert = boss.page.get_by_role("form").get_by_role("alert")
    expect(alert).to_contain_text("Somebody else has changed this session")
    expect(alert).to_contain_text("Starting price, Items")
    expect(alert).to_contain_text("your entry replaces theirs")
    expect(boss.page.get_by_label("Items", exact=True)).to_have_value("9")
    expect(boss.page.get_by_label("Starting price")).to_have_value("80")
    boss.press("Save")
    expect(boss.page.get_by_role("button", name="Start now")).to_be_visible()
    after = admin.get(f"/api/sessions/{session['session_id']}").json
    assert (after["upset_price"], after["inventory"]) == (80.0, 9)
    assert "409" in "".join(boss.visitor.forgive())


def test_started_session_offers_only_the_changes_that_are_still_possible(
    boss: Boss, new_session: NewSession, admin: Client
) -> None:
    session = new_session(name=a_name())
    boss.go(session["session_id"], "edit")
    expect(boss.page.get_by_label("Description")).to_be_visible()
    expect(boss.page.get_by_label("Starting price")).to_have_count(0)
    expect(boss.page.get_by_text("members bid on its terms")).to_be_visible()
    boss.page.get_by_label("Name", exact=True).fill(renamed := a_name("Renamed"))
    boss.press("Save")
    expect(boss.page.get_by_role("heading", level=1)).to_have_text(renamed)
    after = admin.get(f"/api/sessions/{session['session_id']}").json
    assert after["end_time"] == session["end_time"]


def test_running_session_shows_its_figures(
    boss: Boss, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(name=a_name(), inventory=1, beta=0)["session_id"]
    boss.go(session_id)
    figure = boss.page.get_by_role("region", name="Figures").locator("dl > div")
    expect(figure.filter(has_text="Bidders")).to_contain_text("0")
    expect(boss.page.locator(".timer")).to_contain_text("left")
    for price in (300, 250):
        assert member().bid(session_id, price).status == 200
    expect(figure.filter(has_text="Bidders")).to_contain_text("2")
    expect(figure.filter(has_text="Highest bid")).to_contain_text("€300.00")
    expect(figure.filter(has_text="Score to beat")).to_contain_text("152.00")
    expect(boss.page.get_by_text(RATES)).to_be_visible()
    assert boss.page.locator("polyline").get_attribute("points")


def test_session_is_paused_and_resumed_with_the_focus_where_it_was(
    boss: Boss, new_session: NewSession, admin: Client
) -> None:
    session_id = new_session(name=a_name())["session_id"]
    boss.go(session_id)
    boss.press("Pause")
    expect(boss.outcome).to_contain_text("bids are refused")
    boss.has_focus(boss.page.get_by_role("button", name="Resume"))
    assert admin.get(f"/api/sessions/{session_id}").json["status"] == "inactive"
    boss.page.keyboard.press("Enter")
    expect(boss.outcome).to_contain_text("takes bids again")
    boss.has_focus(boss.page.get_by_role("button", name="Pause"))
    assert admin.get(f"/api/sessions/{session_id}").json["status"] == "active"


def test_session_that_was_paused_before_its_start_is_started_with_a_question(
    boss: Boss, new_session: NewSession, admin: Client
) -> None:
    start = datetime.now(UTC) + timedelta(days=1)
    session_id = new_session(name=a_name(), start_time=start.isoformat())["session_id"]
    admin.put(f"/api/admin/sessions/{session_id}/deactivate")
    boss.go(session_id)
    expect(boss.page.get_by_role("button", name="Start now")).to_be_visible()
    expect(boss.page.get_by_role("button", name="Resume")).to_have_count(0)
    expect(boss.page.locator(".timer")).to_contain_text("Starts in")
    boss.press("Start now")
    expect(boss.dialog).to_contain_text("The terms stand from then on")
    boss.confirm("Start now")
    expect(boss.outcome).to_have_text("The session has started.")
    boss.has_focus(boss.outcome)
    expect(boss.page.get_by_role("button", name="Pause")).to_be_visible()


def test_end_is_moved_to_an_own_time_in_the_local_zone(
    visit: Visit, new_session: NewSession, admin: Client
) -> None:
    boss = Boss(visit, admin, timezone_id=NEW_YORK)
    session = new_session(name=a_name())
    later = (datetime.fromisoformat(session["end_time"]) + timedelta(hours=3)).replace(
        microsecond=0
    )
    boss.go(session["session_id"]).press("New end …")
    expect(boss.dialog).to_contain_text("cannot be moved back")
    expect(boss.dialog).to_contain_text(f"Time zone: {NEW_YORK}")
    boss.dialog.get_by_label("End").fill(local(later))
    boss.confirm("Extend")
    expect(boss.outcome).to_contain_text("now ends")
    after = admin.get(f"/api/sessions/{session['session_id']}").json
    assert after["end_time"] == later.isoformat()


def test_what_cannot_be_undone_asks_first(
    boss: Boss, new_session: NewSession, admin: Client
) -> None:
    start = datetime.now(UTC) + timedelta(days=1)
    planned = new_session(name=a_name(), start_time=start.isoformat())
    running = new_session(name=a_name())
    questions = [(planned, "Start now")]
    questions += [(running, name) for name in ("+5 min", "+1 h", "New end …", "End now")]
    questions.append((running, "Cancel session"))
    for session, name in questions:
        boss.go(session["session_id"]).press(name)
        expect(boss.dialog).to_be_visible()
        boss.page.keyboard.press("Escape")
        expect(boss.dialog).to_have_count(0)
        boss.has_focus(boss.page.get_by_role("button", name=name, exact=True))
    for session in (planned, running):
        after = admin.get(f"/api/sessions/{session['session_id']}").json
        assert after == session


def test_session_that_changed_meanwhile_is_not_extended_by_mistake(
    boss: Boss, new_session: NewSession, admin: Client
) -> None:
    session = new_session(name=a_name())
    path = f"/api/admin/sessions/{session['session_id']}"
    boss.go(session["session_id"]).press("+1 h")
    later = datetime.fromisoformat(session["end_time"]) + timedelta(minutes=5)
    changed = admin.patch(path, version=session["version"], end_time=later.isoformat())
    boss.confirm("Extend")
    expect(boss.outcome).to_contain_text("please try again")
    assert admin.get(f"/api/sessions/{session['session_id']}").json == changed.json
    assert "409" in "".join(boss.visitor.forgive())


def test_session_is_cancelled_by_keyboard_with_a_reason_that_bidders_get(
    boss: Boss, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id, bidder = new_session(name=a_name())["session_id"], member()
    assert bidder.bid(session_id, 150).status == 200
    button = boss.go(session_id).page.get_by_role("button", name="Cancel session")
    button.press("Enter")
    boss.has_focus(boss.dialog.get_by_label("Reason"))
    boss.page.keyboard.press("Enter")  # a reason is required
    expect(boss.dialog).to_be_visible()
    boss.page.keyboard.type("It arrived damaged.")
    boss.page.keyboard.press("Enter")
    expect(boss.page.get_by_text("It arrived damaged.")).to_be_visible()
    expect(boss.outcome).to_contain_text("Its bidders are told")
    boss.has_focus(boss.outcome)
    expect(boss.page.get_by_role("button", name="Cancel session")).to_have_count(0)
    assert boss.clicks == 0


def test_session_is_ended_now_and_its_results_appear(
    boss: Boss, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(name=a_name(), inventory=1)["session_id"]
    assert member().bid(session_id, 321.5).status == 200
    boss.go(session_id).press("End now")
    boss.confirm("End now")
    expect(boss.page.get_by_text("1 of 1 bidder won")).to_be_visible()
    expect(boss.page.get_by_text("pays €321.50")).to_be_visible()


def test_session_is_duplicated_with_its_terms_and_new_times(
    boss: Boss, new_session: NewSession, admin: Client
) -> None:
    end = datetime.now(UTC) + timedelta(days=2)
    source = new_session(
        name=a_name(), description="x", upset_price=77, gamma=0, pricing="second_score",
        duration_minutes=30, allow_lower_bids=True, offer_minutes=5, offers_end=end.isoformat(),
    )  # fmt: skip
    boss.go().find(str(source["name"]))
    boss.open(f"Duplicate {source['name']}")
    expect(boss.page.get_by_label("Start", exact=True)).to_have_value("")
    expect(boss.page.get_by_label("Minutes", exact=True)).to_have_value("30")
    boss.press("Create session")
    expect(boss.page.get_by_role("button", name="Pause")).to_be_visible()
    copy = next(
        each for each in found(admin, source["name"]) if each["session_id"] != source["session_id"]
    )
    others = {"session_id", "product_id", "start_time", "end_time", "offers_end", "version"}
    assert {name for name in source if copy[name] != source[name]} <= others
    assert copy["offers_end"] is None
