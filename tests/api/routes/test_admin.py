"""Products, sessions and counts."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.api.conftest import CheckedClient
from tests.support.factories import Shop

TERMS = {"upset_price": 100, "inventory": 3}
COMBINED = {"name": "Camera", "description": "With a lens.", **TERMS}


def moment(text: str) -> datetime:
    """A time of an answer, which must be in UTC and say so."""
    parsed = datetime.fromisoformat(text)
    assert parsed.utcoffset() == timedelta(0)
    return parsed


def test_product_is_created_and_listed_newest_first(admin: CheckedClient) -> None:
    first = admin.post("/api/admin/products", json={"name": "Camera"})
    second = admin.post("/api/admin/products", json={"name": "Lens", "description": "50 mm\n2.0"})
    assert (first.status_code, first.json["name"], first.json["description"]) == (
        201,
        "Camera",
        None,
    )
    assert second.json["description"] == "50 mm\n2.0"
    assert admin.get("/api/admin/products").json == [second.json, first.json]


def test_session_has_the_contracts_defaults(admin: CheckedClient) -> None:
    answer = admin.post("/api/admin/sessions/combined", json=COMBINED)
    assert answer.status_code == 201
    session = answer.json
    assert {name: session[name] for name in ("alpha", "beta", "gamma", "inventory")} == {
        "alpha": 0.5,
        "beta": 1000.0,
        "gamma": 2.0,
        "inventory": 3,
    }
    assert session["upset_price"] == session["base_price"] == 100.0
    assert (session["status"], session["is_active"], session["final_price"]) == (
        "active",
        True,
        None,
    )
    start, end = moment(session["start_time"]), moment(session["end_time"])
    assert end - start == timedelta(minutes=60)
    assert abs(datetime.now(UTC) - start) < timedelta(minutes=1)


def test_session_is_created_for_an_existing_product(admin: CheckedClient) -> None:
    product = admin.post("/api/admin/products", json={"name": "Camera"}).json
    terms = {**TERMS, "upset_price": 99.99, "alpha": 1, "beta": 0, "gamma": 0.25}
    terms["allow_lower_bids"] = True
    terms |= {"pricing": "second_score", "offer_minutes": 0.5}
    terms["offers_end"] = "2040-01-31T18:00:00+00:00"
    session = admin.post(
        "/api/admin/sessions", json={"product_id": product["product_id"], **terms}
    ).json
    assert session["product_id"] == product["product_id"]
    assert session["name"] == "Camera"
    assert {name: session[name] for name in terms} == terms


@pytest.mark.parametrize(
    "terms",
    [{"gamma": 1e15}, {"beta": 1e15}, {"alpha": 1e-12}, {"alpha": 1e-300, "beta": 1, "gamma": 0}],
)
def test_session_whose_scores_cannot_tell_a_cent_is_refused_with_a_sentence(
    admin: CheckedClient, terms: dict[str, float]
) -> None:
    refused = admin.post("/api/admin/sessions/combined", json={**COMBINED, **terms})
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")
    assert "one cent apart" in refused.json["detail"]
    assert list(refused.json["errors"]) == [refused.json["detail"].partition(":")[0]]


def test_session_in_which_prices_do_not_count_takes_any_coefficients(
    admin: CheckedClient,
) -> None:
    terms = {"alpha": 0, "beta": 1e15, "gamma": 1e15}
    made = admin.post("/api/admin/sessions/combined", json={**COMBINED, **terms})
    assert made.status_code == 201


@pytest.mark.parametrize("value", ["true", 1, 0, "", [], None])
def test_allow_lower_bids_that_is_no_boolean_is_refused(
    admin: CheckedClient, value: object
) -> None:
    refused = admin.post(
        "/api/admin/sessions/combined", json={**COMBINED, "allow_lower_bids": value}
    )
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["allow_lower_bids"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pricing", "vickrey"),
        ("pricing", None),
        ("offer_minutes", 0),
        ("offer_minutes", 525_600.5),
        ("offer_minutes", "60"),
        ("offers_end", "tomorrow"),
        # Before the session's end, which is an hour from now.
        ("offers_end", "2020-01-31T18:00:00Z"),
    ],
)
def test_a_wrong_term_of_the_offers_is_refused(
    admin: CheckedClient, field: str, value: object
) -> None:
    refused = admin.post("/api/admin/sessions/combined", json={**COMBINED, field: value})
    assert (refused.status_code, list(refused.json["errors"])) == (422, [field])


def test_offers_end_after_the_session_and_not_with_it(admin: CheckedClient) -> None:
    start = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    terms = COMBINED | {"start_time": start.isoformat(), "duration_minutes": 60}
    for seconds, status in ((0, 422), (1, 201)):
        end = start + timedelta(hours=1, seconds=seconds)
        made = admin.post(
            "/api/admin/sessions/combined", json={**terms, "offers_end": end.isoformat()}
        )
        assert made.status_code == status


def test_session_binds_its_bids_unless_its_terms_say_otherwise(admin: CheckedClient) -> None:
    answers = [
        admin.post("/api/admin/sessions/combined", json={**COMBINED, **terms}).json
        for terms in ({}, {"allow_lower_bids": False}, {"allow_lower_bids": True})
    ]
    assert [each["allow_lower_bids"] for each in answers] == [False, False, True]


def test_session_of_an_unknown_product_is_refused(admin: CheckedClient) -> None:
    refused = admin.post("/api/admin/sessions", json={"product_id": str(uuid4()), **TERMS})
    assert (refused.status_code, refused.json["code"]) == (404, "product_not_found")


@pytest.mark.parametrize(
    ("start_time", "start"),
    [
        ("2030-01-31T18:00:00Z", "2030-01-31T18:00:00+00:00"),
        ("2030-01-31T18:00:00+05:30", "2030-01-31T12:30:00+00:00"),
        ("2030-01-31T18:00:00", "2030-01-31T18:00:00+00:00"),
    ],
)
def test_session_in_the_future_is_scheduled(
    admin: CheckedClient, start_time: str, start: str
) -> None:
    session = admin.post(
        "/api/admin/sessions/combined", json={**COMBINED, "start_time": start_time}
    ).json
    assert (session["status"], session["is_active"]) == ("scheduled", False)
    assert session["start_time"] == start
    shown = admin.get(f"/api/sessions/{session['session_id']}").json
    assert shown == session


@pytest.mark.parametrize("minutes", [0.001, 0.5, 43200])
def test_duration_may_be_a_fraction_and_a_month(admin: CheckedClient, minutes: float) -> None:
    session = admin.post(
        "/api/admin/sessions/combined", json={**COMBINED, "duration_minutes": minutes}
    ).json
    lasts = moment(session["end_time"]) - moment(session["start_time"])
    assert lasts == timedelta(minutes=minutes)


def test_session_that_began_in_the_past_runs_until_its_end(admin: CheckedClient) -> None:
    start = datetime.now(UTC) - timedelta(minutes=30)
    session = admin.post(
        "/api/admin/sessions/combined", json={**COMBINED, "start_time": start.isoformat()}
    ).json
    assert session["status"] == "active"


def bid(client: CheckedClient, session_id: str, price: float = 150) -> tuple[int, str]:
    answer = client.post("/api/bid", json={"session_id": session_id, "price": price})
    return answer.status_code, answer.json.get("code", answer.json["status"])


def test_a_sessions_states_and_what_bids_get_in_each(
    admin: CheckedClient, member: CheckedClient
) -> None:
    later = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
    made = admin.post("/api/admin/sessions/combined", json={**COMBINED, "start_time": later}).json
    sid = made["session_id"]
    assert bid(member, sid) == (409, "session_not_started")

    opened = admin.put(f"/api/admin/sessions/{sid}/activate")
    assert (opened.status_code, opened.json["status"]) == (200, "active")
    assert opened.json["end_time"] == made["end_time"]
    assert moment(opened.json["start_time"]) < moment(made["start_time"])
    assert bid(member, sid) == (200, "accepted")

    paused = admin.put(f"/api/admin/sessions/{sid}/deactivate")
    assert (paused.status_code, paused.json["status"]) == (200, "inactive")
    assert paused.json["end_time"] == made["end_time"]
    assert bid(member, sid, 160) == (409, "session_inactive")
    assert member.get(f"/api/leaderboard/{sid}/me").json["price"] == 150

    admin.put(f"/api/admin/sessions/{sid}/activate")
    assert bid(member, sid, 160) == (200, "accepted")

    closed = admin.put(f"/api/admin/sessions/{sid}/close")
    assert (closed.status_code, closed.json["status"]) == (202, "ended")
    assert moment(closed.json["end_time"]) < moment(made["end_time"])
    assert bid(member, sid, 170) == (409, "session_ended")
    for move in ("activate", "deactivate"):
        refused = admin.put(f"/api/admin/sessions/{sid}/{move}")
        assert (refused.status_code, refused.json["code"]) == (409, "session_ended")


def test_closing_twice_answers_the_same(admin: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    path = f"/api/admin/sessions/{session.session_id}/close"
    first, second = admin.put(path), admin.put(path)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json == second.json
    shop.services.closing.close(session.session_id)
    closed = {**first.json, "final_price": None, "version": first.json["version"] + 1}
    assert admin.put(path).json == closed


@pytest.mark.parametrize("move", ["activate", "deactivate", "close"])
def test_moving_an_unknown_session_is_refused(admin: CheckedClient, move: str) -> None:
    refused = admin.put(f"/api/admin/sessions/{uuid4()}/{move}")
    assert (refused.status_code, refused.json["code"]) == (404, "session_not_found")


def test_closing_a_session_before_its_start_ends_it(admin: CheckedClient) -> None:
    session = admin.post(
        "/api/admin/sessions/combined", json={**COMBINED, "start_time": "2030-01-31T18:00:00Z"}
    ).json
    closed = admin.put(f"/api/admin/sessions/{session['session_id']}/close").json
    assert (closed["status"], closed["start_time"]) == ("ended", closed["end_time"])


def test_stats_count_the_shop(admin: CheckedClient, member: CheckedClient, shop: Shop) -> None:
    running, paused, over = shop.session(), shop.session(), shop.session()
    shop.session(start_time=datetime(2030, 1, 31, tzinfo=UTC))
    for session in (running, over):
        bid(member, str(session.session_id))
    bid(member, str(running.session_id), 160)
    shop.close(over)
    admin.put(f"/api/admin/sessions/{paused.session_id}/deactivate")
    assert admin.get("/api/admin/stats").json == {
        "total_users": 2,
        "total_products": 4,
        "active_sessions": 1,
        "total_bids": 3,
        "sessions": {"scheduled": 1, "active": 1, "inactive": 1, "ended": 1, "cancelled": 0},
        "bids_accepted": 3,
        "bids_persisted": 1,
        "persist_backlog": 2,
    }
    shop.drain(running)
    assert admin.get("/api/admin/stats").json["persist_backlog"] == 0


def test_stats_of_a_session_count_its_own_bids(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    session, other = shop.session(), shop.session()
    path = f"/api/admin/sessions/{session.session_id}/stats"
    bid(member, str(session.session_id))
    bid(member, str(other.session_id))
    shop.drain(session)
    bid(member, str(session.session_id), 160)
    assert admin.get(path).json == {
        "bids_accepted": 2,
        "bids_persisted": 1,
        "persist_backlog": 1,
    }
    shop.close(session)
    assert admin.get(path).json["persist_backlog"] == 0
    unknown = admin.get(f"/api/admin/sessions/{uuid4()}/stats")
    assert (unknown.status_code, unknown.json["code"]) == (404, "session_not_found")
