"""Bids, boards and sessions, as clients see them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from werkzeug.test import TestResponse

from core.redis import clock
from core.rules import scoring
from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient, Log
from tests.api.routes.test_admin import moment
from tests.support.factories import Shop


def place(
    client: CheckedClient, session: SessionView, price: float, **fields: object
) -> TestResponse:
    body = {"session_id": str(session.session_id), "price": price, **fields}
    return client.post("/api/bid", json=body)


def test_bid_answers_its_place_score_and_terms(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    answer = place(member, session, 150.25)
    bid = answer.json
    assert answer.status_code == 200
    assert (bid["status"], bid["sequence"], bid["rank"]) == ("accepted", 1, 1)
    assert (bid["price"], bid["user_weight"]) == (150.25, 1.0)
    assert (bid["is_winning"], bid["replayed"]) == (True, False)
    assert bid["session_id"] == str(session.session_id)
    assert bid["message"]
    terms = scoring.Coefficients(session.alpha, session.beta, session.gamma)
    assert bid["score"] == scoring.score(terms, 150.25, bid["response_time"], 1.0)
    accepted = moment(bid["accepted_at"]) - session.start_time
    assert bid["response_time"] == accepted / timedelta(seconds=1)


def test_bid_of_the_standing_price_is_a_replay(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    first = place(member, session, 150).json
    before = shop.redis_state()
    again = place(member, session, 150.00)
    assert again.json == {**first, "replayed": True, "message": again.json["message"]}
    assert shop.redis_state() == before


def test_bid_replaces_the_standing_bid_up_or_down_where_it_may(
    member: CheckedClient, shop: Shop
) -> None:
    session = shop.session(allow_lower_bids=True)
    for sequence, price in enumerate([150, 200, 120], start=1):
        assert place(member, session, price).json["sequence"] == sequence
        board = member.get(f"/api/leaderboard/{session.session_id}").json
        assert [entry["price"] for entry in board["leaderboard"]] == [price]
        assert board["highest_bid"] == price


def test_bid_below_the_standing_price_is_refused_with_it(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    place(member, session, 150.25)
    before = shop.redis_state()
    refused = place(member, session, 150.24)
    assert (refused.status_code, refused.json["code"]) == (409, "price_below_standing")
    assert refused.json["standing_price"] == 150.25
    assert "150.25" in refused.json["detail"]
    assert shop.redis_state() == before
    assert member.get(f"/api/leaderboard/{session.session_id}").json["highest_bid"] == 150.25


def test_bid_that_would_score_less_is_refused_if_it_asks_to_be(
    member: CheckedClient, shop: Shop
) -> None:
    session = shop.session()
    standing = place(member, session, 90 + 10, only_if_better=True).json
    shop.move_start(session, session.start_time - timedelta(hours=1))
    before = shop.redis_state()
    refused = place(member, session, 400, only_if_better=True)
    assert (refused.status_code, refused.json["code"]) == (409, "score_would_drop")
    assert refused.json["standing_score"] == standing["score"]
    assert 200 < refused.json["score"] < standing["score"]
    assert shop.redis_state() == before
    assert place(member, session, 100, only_if_better=True).json["replayed"]
    assert place(member, session, 9000, only_if_better=True).status_code == 200
    assert place(member, session, 9001, only_if_better=False).status_code == 200


@pytest.mark.parametrize("flag", ["true", 1, 0, None, "", [], {}])
def test_flag_that_is_no_boolean_is_refused(
    member: CheckedClient, shop: Shop, flag: object
) -> None:
    refused = place(member, shop.session(), 150, only_if_better=flag)
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")
    assert list(refused.json["errors"]) == ["only_if_better"]


def test_bid_on_the_upset_price_is_taken_and_below_it_refused(
    member: CheckedClient, shop: Shop
) -> None:
    session = shop.session()
    refused = place(member, session, 99.99)
    assert (refused.status_code, refused.json["code"]) == (422, "price_below_upset")
    assert refused.json["upset_price"] == 100
    assert place(member, session, 100).status_code == 200


def test_highest_price_is_taken_to_the_cent(member: CheckedClient, shop: Shop) -> None:
    assert place(member, shop.session(), 9_999_999_999.99).json["price"] == 9_999_999_999.99


def test_bid_into_an_unknown_session_is_refused(member: CheckedClient) -> None:
    refused = member.post("/api/bid", json={"session_id": str(uuid4()), "price": 150})
    assert (refused.status_code, refused.json["code"]) == (404, "session_not_found")


def test_too_fast_bidder_is_told_when_to_try_again(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    burst = shop.services.settings.bid_rate_burst
    # Far more than one second refills, so that a slow machine is refused as well.
    answers = [place(member, session, 150 + number) for number in range(burst * 3)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json["code"] == "rate_limited"
    assert int(refused.headers["Retry-After"]) >= 1


def test_bid_is_ranked_below_better_ones(member: CheckedClient, shop: Shop) -> None:
    session = shop.session(inventory=1, beta=0.0)
    shop.bid(shop.bidder(), session, "300")
    bid = place(member, session, 200).json
    assert (bid["rank"], bid["is_winning"]) == (2, False)


def test_board_pages_through_the_ranks(anyone: CheckedClient, shop: Shop) -> None:
    session = shop.session(inventory=2, beta=0.0)
    bidders = [shop.bidder() for _ in range(3)]
    for bidder, price in zip(bidders, ["200", "300", "100"], strict=True):
        shop.bid(bidder, session, price)
    path = f"/api/leaderboard/{session.session_id}"
    board = anyone.get(path).json
    assert [
        (entry["rank"], entry["username"], entry["price"], entry["is_winner"])
        for entry in board["leaderboard"]
    ] == [
        (1, bidders[1].username, 300.0, True),
        (2, bidders[0].username, 200.0, True),
        (3, bidders[2].username, 100.0, False),
    ]
    assert (board["page"], board["page_size"], board["total_pages"]) == (1, 50, 1)
    assert (board["total_count"], board["highest_bid"]) == (3, 300)
    assert board["threshold_score"] == board["leaderboard"][1]["score"]
    assert moment(board["end_time"]) == session.end_time
    assert moment(board["server_time"]) < session.end_time

    second = anyone.get(f"{path}?page=2&page_size=2").json
    assert second["leaderboard"] == board["leaderboard"][2:]
    assert (second["page"], second["page_size"], second["total_pages"]) == (2, 2, 2)
    assert second["threshold_score"] == board["threshold_score"]
    assert anyone.get(f"{path}?page=1000000000&page_size=100").json["leaderboard"] == []


def test_board_without_bids_has_no_threshold(anyone: CheckedClient, shop: Shop) -> None:
    board = anyone.get(f"/api/leaderboard/{shop.session().session_id}").json
    assert board["leaderboard"] == []
    assert (board["highest_bid"], board["threshold_score"]) == (None, None)
    assert (board["total_count"], board["total_pages"]) == (0, 0)


def test_board_is_provisional_until_the_results_are_final(
    anyone: CheckedClient, shop: Shop
) -> None:
    session = shop.session(inventory=1, beta=0.0)
    for price in ("200", "300"):
        shop.bid(shop.bidder(), session, price)
    path = f"/api/leaderboard/{session.session_id}"
    running = anyone.get(path).json
    assert (running["status"], running["provisional"]) == ("active", True)
    shop.end(session)
    over = anyone.get(path).json
    assert (over["status"], over["provisional"]) == ("ended", True)
    shop.services.closing.close(session.session_id)
    final = anyone.get(path).json
    assert (final["status"], final["provisional"]) == ("ended", False)
    moving = {"status", "provisional", "server_time", "end_time"}
    assert {name: final[name] for name in final if name not in moving} == {
        name: running[name] for name in running if name not in moving
    }


@pytest.mark.parametrize("path", ["leaderboard/{}", "leaderboard/{}/me", "sessions/{}"])
def test_unknown_session_is_not_found(member: CheckedClient, path: str) -> None:
    refused = member.get(f"/api/{path.format(uuid4())}")
    assert (refused.status_code, refused.json["code"]) == (404, "session_not_found")


@pytest.mark.parametrize("closed", [False, True])
def test_member_sees_the_own_place(
    member: CheckedClient, log_in: Log, shop: Shop, closed: bool
) -> None:
    session = shop.session(inventory=1, beta=0.0)
    path = f"/api/leaderboard/{session.session_id}/me"
    assert member.get(path).json["code"] == "no_bid"
    mine = place(member, session, 200).json
    best = shop.bid(shop.bidder(), session, "300")
    if closed:
        shop.close(session)
    assert member.get(path).json == {
        "rank": 2,
        "score": mine["score"],
        "price": 200,
        "is_winner": False,
        "threshold_score": best.score,
        "total_count": 2,
    }
    assert log_in("eve").get(path).json["code"] == "no_bid"


def test_sessions_are_listed_newest_start_first_and_paged(
    anyone: CheckedClient, shop: Shop
) -> None:
    now = clock.now(shop.services.redis)
    starts = [now - timedelta(minutes=5), now + timedelta(days=1), now - timedelta(minutes=9)]
    made = [shop.session(start_time=start) for start in starts]
    newest_first = [str(made[index].session_id) for index in (1, 0, 2)]
    listed = anyone.get("/api/sessions")
    assert [session["session_id"] for session in listed.json] == newest_first
    assert listed.headers["X-Total-Count"] == "3"
    page = anyone.get("/api/sessions?page=2&page_size=2")
    assert [session["session_id"] for session in page.json] == newest_first[2:]
    assert page.headers["X-Total-Count"] == "3"
    assert anyone.get("/api/sessions?page=3&page_size=2").json == []
    one = anyone.get(f"/api/sessions/{newest_first[0]}")
    assert one.json == listed.json[0]


def test_sessions_are_listed_soonest_first_on_demand(anyone: CheckedClient, shop: Shop) -> None:
    now = clock.now(shop.services.redis)
    starts = [now + timedelta(days=1), now, now + timedelta(hours=1), now - timedelta(minutes=5)]
    made = [shop.session(start_time=start) for start in starts]
    listed = anyone.get("/api/sessions?order=soonest&page_size=3")
    soonest_first = [str(made[index].session_id) for index in (3, 1, 2)]
    assert [session["session_id"] for session in listed.json] == soonest_first
    assert listed.headers["X-Total-Count"] == "4"
    assert anyone.get("/api/sessions?order=name").status_code == 422


def test_sessions_are_filtered_by_what_the_clock_makes_of_them(
    admin: CheckedClient, anyone: CheckedClient, shop: Shop
) -> None:
    made = {
        "active": shop.session(),
        "inactive": shop.session(),
        "ended": shop.session(),
        "scheduled": shop.session(start_time=datetime(2030, 1, 31, tzinfo=UTC)),
    }
    admin.put(f"/api/admin/sessions/{made['inactive'].session_id}/deactivate")
    shop.end(made["ended"])
    for status, session in made.items():
        found = anyone.get(f"/api/sessions?status={status}")
        assert found.headers["X-Total-Count"] == "1"
        assert [(each["session_id"], each["status"]) for each in found.json] == [
            (str(session.session_id), status)
        ]
    active = anyone.get("/api/sessions/active").json
    assert [each["session_id"] for each in active] == [str(made["active"].session_id)]


def test_own_bids_are_listed_newest_first_wherever_they_are(
    member: CheckedClient, shop: Shop
) -> None:
    """One is in PostgreSQL, two are still in the bid log; a stranger's are not shown."""
    first, second = shop.session(), shop.session()
    shop.bid(shop.bidder(), first, "500")
    placed = [place(member, first, 150).json]
    shop.drain(first)
    placed += [place(member, second, 160).json, place(member, first, 170).json]
    expected = [
        {name: bid[name] for name in bid if name in ("session_id", "sequence", "price", "score")}
        for bid in reversed(placed)
    ]

    def listed(query: str = "") -> list[dict]:
        answer = member.get(f"/api/bids/me{query}")
        totals.append(answer.headers["X-Total-Count"])
        return [{name: bid[name] for name in expected[0]} for bid in answer.json]

    totals: list[str] = []
    assert listed() == expected
    assert listed(f"?session_id={first.session_id}") == [expected[0], expected[2]]
    assert listed("?page=2&page_size=2") == expected[2:]
    assert totals == ["3", "2", "3"]
    newest = member.get("/api/bids/me").json[0]
    for name in ("response_time", "user_weight", "accepted_at"):
        assert newest[name] == placed[2][name]


def test_own_bids_of_an_unknown_session_are_not_found(member: CheckedClient) -> None:
    refused = member.get(f"/api/bids/me?session_id={uuid4()}")
    assert (refused.status_code, refused.json["code"]) == (404, "session_not_found")
