"""Changing, cancelling and listing sessions, and listing members, over HTTP."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api.conftest import CheckedClient
from tests.support.factories import Shop

LATER = "2030-01-31T18:00:00Z"
COMBINED = {"name": "Camera", "upset_price": 100, "inventory": 3, "start_time": LATER}
REASON = "The cameras arrived damaged."


def made(admin: CheckedClient, **terms: Any) -> dict[str, Any]:
    return admin.post("/api/admin/sessions/combined", json={**COMBINED, **terms}).json


def change(admin: CheckedClient, session: dict[str, Any], **changes: Any) -> Any:
    body = {"version": session["version"], **changes}
    return admin.patch(f"/api/admin/sessions/{session['session_id']}", json=body)


def cancel(admin: CheckedClient, session: dict[str, Any], **body: Any) -> Any:
    path = f"/api/admin/sessions/{session['session_id']}/cancel"
    return admin.put(path, json={"reason": REASON, **body})


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json.get("code", "")


def test_a_change_answers_the_whole_session(admin: CheckedClient) -> None:
    session = made(admin)
    changed = change(admin, session, name="Lamp", description=None, upset_price=9.5, beta=0)
    expected = {"name": "Lamp", "upset_price": 9.5, "base_price": 9.5, "beta": 0, "version": 2}
    assert (changed.status_code, changed.json) == (200, {**session, **expected})
    assert admin.get(f"/api/sessions/{session['session_id']}").json == changed.json


def test_what_is_not_sent_stays_and_has_no_default(admin: CheckedClient) -> None:
    session = made(admin, alpha=1, beta=2, gamma=3, duration_minutes=7, description="Mint.")
    assert change(admin, session, inventory=4).json == {**session, "inventory": 4, "version": 2}


@pytest.mark.parametrize(
    "field", ["upset_price", "inventory", "alpha", "name", "start_time", "end_time", "version"]
)
@pytest.mark.parametrize("value", ["", "x", True, -1, [], {}])
def test_a_malformed_change_is_refused_by_the_field(
    admin: CheckedClient, field: str, value: object
) -> None:
    session = made(admin)
    if (field, value) == ("name", "x"):
        value = "\u200b"
    refused = change(admin, session, **{field: value})
    assert (code(refused), list(refused.json["errors"])) == ((422, "validation_failed"), [field])
    assert admin.get(f"/api/sessions/{session['session_id']}").json == session


@pytest.mark.parametrize(
    "changes",
    [
        {"version": None},
        {"duration_minutes": 5, "end_time": "2030-01-31T19:00:00Z"},
        {"end_time": "2030-01-31T18:00:00Z"},
        {"alpha": 1e-12},
    ],
)
def test_a_change_that_makes_no_session_is_refused(
    admin: CheckedClient, changes: dict[str, Any]
) -> None:
    session = made(admin)
    assert code(change(admin, session, **changes)) == (422, "validation_failed")
    body = {name: value for name, value in changes.items() if name != "version"}
    path = f"/api/admin/sessions/{session['session_id']}"
    assert list(admin.patch(path, json=body).json["errors"]) == ["version"]


def test_changes_are_refused_by_what_the_session_is(admin: CheckedClient) -> None:
    session = made(admin)
    change(admin, session, inventory=4)
    refused = change(admin, session, inventory=5)
    assert (code(refused), refused.json["version"]) == ((409, "version_conflict"), 2)
    running = made(admin, start_time=None)
    assert code(change(admin, running, inventory=5)) == (409, "session_already_started")
    ended = admin.put(f"/api/admin/sessions/{running['session_id']}/close").json
    assert code(change(admin, ended, name="Lamp")) == (409, "session_ended")
    assert code(cancel(admin, ended)) == (409, "session_ended")
    unknown = {"session_id": uuid4(), "version": 1}
    assert (
        code(change(admin, unknown)) == code(cancel(admin, unknown)) == (404, "session_not_found")
    )


@pytest.mark.parametrize("reason", [None, "", " ", "x" * 501, "a\0b", 7])
def test_a_session_is_not_cancelled_without_a_reason(admin: CheckedClient, reason: object) -> None:
    session = made(admin)
    assert list(cancel(admin, session, reason=reason).json["errors"]) == ["reason"]
    assert admin.get(f"/api/sessions/{session['session_id']}").json == session


def test_a_cancelled_session_is_shown_and_refused_as_one(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    session = made(admin, start_time=None)
    sid = session["session_id"]
    member.post("/api/bid", json={"session_id": sid, "price": 150})
    assert code(cancel(admin, session, version=1)) == (409, "version_conflict")
    cancelled = cancel(admin, session, version=session["version"]).json
    assert cancelled["cancel_reason"] == REASON
    assert {**cancelled, "cancelled_at": None, "cancel_reason": None} == {
        **session,
        "status": "cancelled",
        "is_active": False,
        "version": session["version"] + 1,
    }
    assert cancel(admin, session, reason="Another.").json == cancelled
    # Known to clients that have never heard of cancelled sessions.
    assert code(member.post("/api/bid", json={"session_id": sid, "price": 160})) == (
        409,
        "session_ended",
    )
    assert code(member.get(f"/api/results/{sid}")) == (409, "session_cancelled")
    assert code(member.get(f"/api/leaderboard/{sid}/me")) == (409, "session_cancelled")
    for move in ("activate", "deactivate", "close"):
        assert code(admin.put(f"/api/admin/sessions/{sid}/{move}")) == (409, "session_cancelled")
    assert code(change(admin, cancelled, name="Lamp")) == (409, "session_cancelled")
    board = member.get(f"/api/leaderboard/{sid}").json
    assert (board["status"], board["provisional"], board["total_count"]) == ("cancelled", False, 0)
    assert [bid["price"] for bid in member.get("/api/bids/me").json] == [150]

    assert shop.services.closing.close(shop.rows("SELECT id FROM sessions")[0][0])
    shop.services.announcing.announce(shop.rows("SELECT id FROM sessions")[0][0], seconds=30)
    [told] = member.get("/api/notifications").json
    assert (told["kind"], told["rank"], told["price"]) == ("session_cancelled", None, None)
    assert told["message"] == f"The sale of Camera was cancelled: {REASON}"
    assert member.get("/api/bids/me").headers["X-Total-Count"] == "1"


def test_admin_log_has_what_was_changed_and_why_it_was_cancelled(admin: CheckedClient) -> None:
    session = made(admin)
    change(admin, session, inventory=4)
    cancel(admin, session)
    cancelled, changed, _ = admin.get("/api/admin/actions").json
    assert (changed["action"], changed["details"]["changes"]) == (
        "change_session",
        {"inventory": "4"},
    )
    assert (cancelled["action"], cancelled["details"]["reason"]) == ("cancel_session", REASON)


def test_all_sessions_are_listed_by_status_and_name(admin: CheckedClient) -> None:
    first, second = made(admin, name="Camera 1"), made(admin, name="Camera 2", duration_minutes=5)
    made(admin, name="Lamp")
    cancel(admin, made(admin, name="Camera 3"))
    listed = admin.get("/api/admin/sessions?search=CAMERA&status=scheduled")
    assert listed.json == [second, first]
    page = admin.get("/api/admin/sessions?search=camera&page=2&page_size=2")
    assert [each["status"] for each in page.json] == ["cancelled"]
    assert page.headers["X-Total-Count"] == "3"
    assert len(admin.get("/api/admin/sessions").json) == 4


@pytest.mark.parametrize(
    ("search", "names"),
    [
        ("", ["ada", "bob", "eve_%"]),
        ("AD", ["ada"]),
        ("bob@shop", ["bob"]),
        ("%", ["eve_%"]),
        ("_", ["eve_%"]),
        ("/", []),
        ("'; DROP TABLE users; --", []),
    ],
)
def test_members_are_found_by_any_part_of_name_or_address_taken_literally(
    admin: CheckedClient, shop: Shop, search: str, names: list[str]
) -> None:
    for name, email in (("bob", "bob@shop.example"), ("eve_%", "eve@other.example")):
        shop.services.accounts.register(name, email, "correct horse battery staple")
    shop.services.membership.disable("bob")
    found = admin.get("/api/admin/members", query_string={"search": search})
    assert [each["username"] for each in found.json] == names
    assert found.headers["X-Total-Count"] == str(len(names))
    flags = {each["username"]: (each["is_admin"], each["is_disabled"]) for each in found.json}
    right = {"ada": (True, False), "bob": (False, True), "eve_%": (False, False)}
    assert flags == {name: right[name] for name in names}


@pytest.mark.parametrize("path", ["sessions", "members"])
@pytest.mark.parametrize("query", [{"search": "a\0"}, {"search": "x" * 101}, {"page": "0"}])
def test_a_malformed_search_is_refused(
    admin: CheckedClient, path: str, query: dict[str, str]
) -> None:
    refused = admin.get(f"/api/admin/{path}", query_string=query)
    assert (code(refused), list(refused.json["errors"])) == ((422, "validation_failed"), [*query])


def test_an_erased_member_is_listed_as_such(admin: CheckedClient, shop: Shop) -> None:
    bob = shop.account("bob")
    shop.services.erasure.erase(bob.user_id)
    [found] = admin.get("/api/admin/members?search=deleted-").json
    assert (found["user_id"], found["is_erased"]) == (str(bob.user_id), True)
