"""A sale from its opening to its results, with nobody pushing it along."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from dev.stack import Stack, wait_until
from tests.support.http.client import Client, final_results
from tests.support.http.watching import prices, watch


def report_lag(results: dict[str, Any]) -> None:
    end, closed = (datetime.fromisoformat(results[name]) for name in ("end_time", "closed_at"))
    seen = (datetime.now(UTC) - end).total_seconds()
    written = (closed - end).total_seconds()
    print(f"results written {written:.2f} s after the end, read {seen:.2f} s after")  # noqa: T201


def test_the_seed_flow_ends_in_results_by_itself(
    empty_shop: None, client: Client, connect: Callable[..., Client]
) -> None:
    registered = client.post(
        "/api/auth/register", username="admin", email="admin@test.com", password="admin123"
    )
    assert registered.status == 201
    assert registered.json["is_admin"]
    admin = connect(registered.json["token"])
    opened = admin.post(
        "/api/admin/sessions/combined",
        name="iPhone 15 Pro",
        description="256GB, Natural Titanium",
        upset_price=200.0,
        inventory=5,
        alpha=0.5,
        beta=1000.0,
        gamma=2.0,
        duration_minutes=0.0833,
    )
    assert opened.status == 201
    session_id = opened.json["session_id"]
    [active] = client.get("/api/sessions/active").json
    assert active["session_id"] == session_id
    user = client.post(
        "/api/auth/register", username="user1", email="user1@test.com", password="test123"
    ).json
    assert (user["is_admin"], user["weight"]) == (False, 1.0)
    bidder = connect(user["token"])

    bid = bidder.bid(session_id, 250.0)

    assert bid.status == 200
    assert (bid.json["rank"], bid.json["is_winning"], bid.json["replayed"]) == (1, True, False)
    assert bid.json["score"] == 0.5 * 250 + 1000 / (bid.json["response_time"] + 1) + 2.0 * 1.0
    board = client.get(f"/api/leaderboard/{session_id}").json
    [line] = board["leaderboard"]
    assert board["provisional"]
    assert (line["user_id"], line["score"]) == (user["user_id"], bid.json["score"])
    assert client.get("/health").json["status"] == "healthy"
    assert b"swagger" in client.get("/docs").body.lower()
    assert client.get("/openapi.json").json["openapi"].startswith("3.1")

    results = final_results(client, session_id)

    report_lag(results)
    assert [winner["username"] for winner in results["winners"]] == ["user1"]
    assert results["final_price"] == 250.0
    assert (results["total_bidders"], results["total_winners"]) == (1, 1)
    assert not client.get(f"/api/leaderboard/{session_id}").json["provisional"]
    assert bidder.bid(session_id, 260.0).json["code"] == "session_ended"
    assert wait_until(lambda: bidder.get("/api/auth/me").json["weight"] > 1.0, 30)


def test_a_scheduled_session_opens_and_closes_by_itself(
    client: Client,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    start = datetime.now(UTC) + timedelta(seconds=2)
    session = new_session(start_time=start.isoformat(), duration_minutes=2 / 60)
    path = f"/api/sessions/{session['session_id']}"
    bidder = member()
    assert session["status"] == "scheduled"
    assert bidder.bid(session["session_id"], 150).json["code"] == "session_not_started"

    assert wait_until(lambda: client.get(path).json["status"] == "active", 10)

    bid = bidder.bid(session["session_id"], 150)
    assert bid.status == 200
    assert bid.json["response_time"] < 2
    assert final_results(client, session["session_id"])["final_price"] == 150


def test_an_admin_ends_a_session_early(
    client: Client,
    admin: Client,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    session_id = new_session(inventory=1)["session_id"]
    first, second = member(), member()
    assert first.bid(session_id, 150).status == 200
    assert second.bid(session_id, 9000).status == 200
    assert client.get(f"/api/results/{session_id}").json["code"] == "session_not_ended"
    asked = time.monotonic()

    assert admin.put(f"/api/admin/sessions/{session_id}/close").status == 202

    assert first.bid(session_id, 160).json["code"] == "session_ended"
    results = final_results(client, session_id)
    print(f"results {time.monotonic() - asked:.2f} s after the request")  # noqa: T201
    assert results["final_price"] == 9000
    assert results["total_bidders"] == 2
    assert [winner["price"] for winner in results["winners"]] == [9000]
    assert admin.put(f"/api/admin/sessions/{session_id}/activate").json["code"] == "session_ended"


def test_two_beats_do_no_harm(
    stack: Stack,
    client: Client,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    with stack.extra_process("beat"):
        start = datetime.now(UTC) + timedelta(seconds=1)
        session = new_session(start_time=start.isoformat(), duration_minutes=2 / 60, inventory=1)
        path = f"/api/sessions/{session['session_id']}"
        assert wait_until(lambda: client.get(path).json["status"] == "active", 10)
        for price in (150, 9000):
            assert member().bid(session["session_id"], price).status == 200

        results = final_results(client, session["session_id"])

    assert [line["price"] for line in results["rankings"]] == [9000, 150]
    assert stack.count_log_lines("closer", session["session_id"], '"session_closed"') == 1


def test_a_watcher_sees_the_sale_and_is_told_the_winners(
    stack: Stack,
    admin: Client,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    session_id = new_session(inventory=1)["session_id"]
    with watch(stack.port, session_id) as watcher:
        assert prices(watcher.frame()) == []
        assert member().bid(session_id, 150).status == 200
        assert prices(watcher.frame()) == [150]

        assert admin.put(f"/api/admin/sessions/{session_id}/close").status == 202

        ended = watcher.frame_until(lambda frame: frame["type"] == "session_ended")
    assert [winner["price"] for winner in ended["data"]["winners"]] == [150]
