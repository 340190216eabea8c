"""Sessions: made, listed, opened and paused."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from core import errors
from core.redis import clock, keys
from core.rules.images import ImageHosts
from core.rules.lifecycle import Status, status_at
from core.sessions.sessions import MAX_START_AHEAD, Sessions, SessionView, Terms
from tests.support.factories import Shop

HOUR = timedelta(hours=1)
TERMS = Terms(upset_price=Decimal(1), inventory=1, alpha=0.5, beta=1000.0, gamma=2.0, duration=HOUR)


def now(shop: Shop) -> datetime:
    return clock.now(shop.services.redis)


def params(shop: Shop, session: SessionView) -> dict[str, str]:
    return shop.services.redis.hgetall(keys.session_params(session.session_id))


def test_a_session_without_a_start_time_begins_at_once(shop: Shop) -> None:
    before = now(shop)
    session = shop.session(duration=timedelta(minutes=1.5))
    assert before <= session.start_time <= now(shop)
    assert session.end_time - session.start_time == timedelta(seconds=90)
    assert (session.status, session.is_active) == (Status.ACTIVE, True)


def test_a_session_that_starts_later_is_scheduled(shop: Shop) -> None:
    start = now(shop) + HOUR
    session = shop.session(start_time=start)
    assert (session.status, session.start_time) == (Status.SCHEDULED, start)


def test_a_start_time_may_be_given_in_any_time_zone(shop: Shop) -> None:
    start = (now(shop) + HOUR).astimezone(timezone(timedelta(hours=-5)))
    session = shop.session(start_time=start)
    assert session.start_time == start
    assert shop.services.sessions.get(session.session_id) == session


def test_redis_knows_a_new_session_as_postgresql_does(shop: Shop) -> None:
    session = shop.session(alpha=0.1, beta=1e-7, gamma=1e11, upset_price=Decimal("0.01"))
    stored = params(shop, session)
    assert {name: float(stored[name]) for name in ("alpha", "beta", "gamma")} == {
        "alpha": 0.1,
        "beta": 1e-7,
        "gamma": 1e11,
    }
    assert Decimal(stored["upset_price"]) == Decimal("0.01")
    assert clock.from_microseconds(int(stored["start"])) == session.start_time
    assert clock.from_microseconds(int(stored["end"])) == session.end_time
    assert (stored["status"], stored["sequence"]) == ("active", "0")


@pytest.mark.parametrize("ahead", [-2 * HOUR, -HOUR, MAX_START_AHEAD + HOUR])
def test_terms_that_make_no_session_are_refused_by_the_field(shop: Shop, ahead: timedelta) -> None:
    with pytest.raises(errors.InvalidTerms) as refused:
        shop.session(start_time=now(shop) + ahead, duration=HOUR)
    assert refused.value.field == "start_time"
    assert shop.rows("SELECT count(*) FROM sessions, products") == [(0,)]


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"gamma": 1e15}, "gamma"),
        ({"gamma": 1e14, "beta": 4e14}, "gamma"),
        ({"beta": 1e15}, "beta"),
        ({"beta": 1e15, "gamma": 1e14}, "beta"),
        ({"alpha": 1e-12}, "beta"),
        ({"alpha": 1e-12, "beta": 0.0, "gamma": 1000.0}, "gamma"),
        ({"alpha": 1e-300}, "beta"),
        ({"alpha": 5e-324, "beta": 0.0, "gamma": 0.0}, "alpha"),
    ],
)
def test_terms_whose_scores_cannot_tell_a_cent_are_refused_by_the_field(
    shop: Shop, terms: dict[str, float], field: str
) -> None:
    with pytest.raises(errors.InvalidTerms, match="one cent apart") as refused:
        shop.session(**terms)
    assert refused.value.field == field
    assert shop.rows("SELECT count(*) FROM sessions, products") == [(0,)]


@pytest.mark.parametrize(
    "terms",
    [
        {"alpha": 0.0, "beta": 1e15, "gamma": 1e15},
        {"alpha": 0.0, "beta": 0.0, "gamma": 0.0},
        {"alpha": 1e15, "beta": 1e15, "gamma": 1e15},
        {"alpha": 1e-300, "beta": 0.0, "gamma": 0.0},
        {"alpha": 0.5, "beta": 1e12, "gamma": 1e11},
    ],
)
def test_terms_that_tell_cents_or_do_not_count_prices_are_taken(
    shop: Shop, terms: dict[str, float]
) -> None:
    assert shop.session(**terms).is_active


@pytest.mark.parametrize("by_default", [False, True])
@pytest.mark.parametrize("asked", [None, False, True])
def test_a_session_allows_lower_bids_as_its_terms_say_or_the_shop(
    shop: Shop, by_default: bool, asked: bool | None
) -> None:
    services = shop.services
    sessions = Sessions(
        services.database,
        services.redis,
        services.loader,
        services.sessions._replication,
        allow_lower_bids=by_default,
        image_hosts=ImageHosts(),
    )
    terms = replace(TERMS, allow_lower_bids=asked)
    made = sessions.create_with_product("Item", None, terms)
    expected = by_default if asked is None else asked
    assert made.allow_lower_bids is expected
    assert services.sessions.get(made.session_id).allow_lower_bids is expected
    assert params(shop, made)["allow_lower_bids"] == str(int(expected))


def test_a_session_may_be_half_over_when_it_is_made(shop: Shop) -> None:
    assert shop.session(start_time=now(shop) - HOUR / 2, duration=HOUR).is_active


def test_a_product_can_be_sold_in_several_sessions(shop: Shop) -> None:
    product = shop.services.catalogue.add("Lamp", "Bright")
    made = [shop.services.sessions.create(product.id, TERMS) for _ in range(2)]
    assert {(session.name, session.description) for session in made} == {("Lamp", "Bright")}
    assert [product.id for product in shop.services.catalogue.products()] == [product.id]


def test_products_are_listed_newest_first(shop: Shop) -> None:
    names = ["one", "two", "three"]
    for name in names:
        shop.services.catalogue.add(name, None)
    listed = [product.name for product in shop.services.catalogue.products()]
    assert listed == names[::-1]


def test_a_session_for_a_product_that_nobody_made_is_refused(shop: Shop) -> None:
    with pytest.raises(errors.ProductNotFound):
        shop.services.sessions.create(uuid4(), TERMS)


# --- Opening and pausing -------------------------------------------------------------


def test_a_scheduled_session_that_is_activated_starts_now_and_keeps_its_end(shop: Shop) -> None:
    session = shop.session(start_time=now(shop) + HOUR)
    before = now(shop)
    opened = shop.services.sessions.activate(session.session_id)
    assert before <= opened.start_time <= now(shop)
    assert (opened.end_time, opened.status) == (session.end_time, Status.ACTIVE)
    assert params(shop, session)["start"] == str(clock.to_microseconds(opened.start_time))
    assert shop.bid(shop.bidder(), session, "120").response_time < HOUR.total_seconds()


def test_activating_a_running_session_does_not_move_its_start(shop: Shop) -> None:
    session = shop.session()
    shop.services.sessions.deactivate(session.session_id)
    assert shop.services.sessions.activate(session.session_id).start_time == session.start_time


@pytest.mark.parametrize("change", ["activate", "deactivate"])
def test_setting_a_status_twice_changes_nothing(shop: Shop, change: str) -> None:
    session = shop.session()
    set_status = getattr(shop.services.sessions, change)
    set_status(session.session_id)
    before = shop.redis_state()
    set_status(session.session_id)
    assert shop.redis_state() == before


@pytest.mark.parametrize("change", ["activate", "deactivate"])
def test_the_status_of_a_session_that_nobody_made_is_refused(shop: Shop, change: str) -> None:
    with pytest.raises(errors.SessionNotFound):
        getattr(shop.services.sessions, change)(uuid4())


def test_a_paused_session_keeps_its_standing_bids(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    shop.services.sessions.deactivate(session.session_id)
    assert shop.services.board.standing(session.session_id, bidder.user_id).rank == 1


def test_a_scheduled_session_is_stored_as_active_when_it_has_started(shop: Shop) -> None:
    session = shop.session(start_time=now(shop) + HOUR)
    shop.session()
    assert shop.services.sessions.open_due() == 0
    _store(shop, session, "scheduled", now(shop), session.end_time)
    assert [shop.services.sessions.open_due() for _ in range(2)] == [1, 0]
    assert shop.services.sessions.get(session.session_id).status is Status.ACTIVE


# --- Listing -------------------------------------------------------------------------


def _store(shop: Shop, session: SessionView, status: str, start: datetime, end: datetime) -> None:
    with shop.services.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE sessions SET status = :status, start_time = :start, end_time = :end,"
                " closed_at = CASE WHEN :status = 'ended' THEN now() END,"
                " cancelled_at = CASE WHEN :status = 'cancelled' THEN now() END WHERE id = :id"
            ),
            {"status": status, "start": start, "end": end, "id": session.session_id},
        )


def sessions_of_all_kinds(shop: Shop) -> list[tuple[SessionView, Status]]:
    """One session for each stored status and each place of now: before, during, after."""
    moment, kinds = now(shop), []
    for stored in Status:
        for shift in (HOUR, -HOUR, -3 * HOUR):
            session = shop.session()
            start, end = moment + shift, moment + shift + 2 * HOUR
            _store(shop, session, stored.value, start, end)
            kinds.append((session, status_at(stored, start, end, moment)))
    return kinds


def ids(sessions: Any) -> set[Any]:
    return {session.session_id for session in sessions}


def test_sessions_are_found_by_what_the_clock_makes_of_them(shop: Shop) -> None:
    kinds = sessions_of_all_kinds(shop)
    for status in Status:
        found, total = shop.services.sessions.list(status, page=1, page_size=50)
        expected = {session.session_id for session, kind in kinds if kind is status}
        assert ids(found) == expected
        assert {session.status for session in found} == {status}
        assert total == len(expected)
    found, total = shop.services.sessions.list(None, page=1, page_size=50)
    assert (len(found), total) == (15, 15)


def test_active_sessions_are_those_that_take_bids(shop: Shop) -> None:
    kinds = sessions_of_all_kinds(shop)
    active = {session.session_id for session, kind in kinds if kind is Status.ACTIVE}
    assert ids(shop.services.sessions.active()) == active


def test_sessions_are_listed_in_pages_newest_start_first(shop: Shop) -> None:
    made = [shop.session(start_time=now(shop) + number * HOUR) for number in (1, 3, 2)]
    newest_first = [made[1].session_id, made[2].session_id, made[0].session_id]
    pages = [shop.services.sessions.list(None, page=page, page_size=2) for page in (1, 2, 3)]
    assert [[view.session_id for view in views] for views, _ in pages] == [
        newest_first[:2],
        newest_first[2:],
        [],
    ]
    assert {total for _, total in pages} == {3}


def test_all_sessions_are_listed_soonest_end_first_and_those_that_are_over_last(
    shop: Shop,
) -> None:
    kinds = sessions_of_all_kinds(shop)
    found, total = shop.services.sessions.soonest_ending(None, "", page=1, page_size=50)
    running = [view for view in found if not view.status.is_over]
    assert total == len(kinds)
    assert list(found[: len(running)]) == sorted(running, key=lambda view: view.end_time)
    over = [view.end_time for view in found[len(running) :]]
    assert over == sorted(over, reverse=True)
    page, _ = shop.services.sessions.soonest_ending(None, "", page=2, page_size=4)
    assert list(page) == list(found[4:8])
    for status in Status:
        found, _ = shop.services.sessions.soonest_ending(status, "", page=1, page_size=50)
        assert ids(found) == {session.session_id for session, kind in kinds if kind is status}


def test_what_happens_soonest_is_listed_first_and_what_is_over_last(shop: Shop) -> None:
    kinds = sessions_of_all_kinds(shop)
    found, total = shop.services.sessions.soonest(None, page=1, page_size=50)
    assert total == len(kinds)
    moment = now(shop)
    started, to_come, over = (
        [view for view in found if part(view)]
        for part in (
            lambda view: not view.status.is_over and view.start_time <= moment,
            lambda view: not view.status.is_over and view.start_time > moment,
            lambda view: view.status.is_over,
        )
    )
    assert all((started, to_come, over))
    assert list(found) == [
        *sorted(started, key=lambda view: view.end_time),
        *sorted(to_come, key=lambda view: view.start_time),
        *sorted(over, key=lambda view: view.end_time, reverse=True),
    ]
    page, _ = shop.services.sessions.soonest(None, page=2, page_size=4)
    assert list(page) == list(found[4:8])
    for status in Status:
        found, _ = shop.services.sessions.soonest(status, page=1, page_size=50)
        assert ids(found) == {session.session_id for session, kind in kinds if kind is status}


@pytest.mark.parametrize(
    ("search", "names"),
    [("", 4), ("cAM", 2), ("%", 1), ("_", 1), ("\\", 1), ("/", 0), ("%%", 0), ("lamp", 0)],
)
def test_sessions_are_found_by_any_part_of_the_name_taken_literally(
    shop: Shop, search: str, names: int
) -> None:
    for name in ("Camera", "camp bed", "50% off_", "back\\slash"):
        shop.services.sessions.create_with_product(name, None, TERMS)
    found, total = shop.services.sessions.soonest_ending(None, search, page=1, page_size=50)
    assert (len(found), total) == (names, names)


def test_reading_sessions_does_not_need_redis_to_know_them(shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.flushdb()
    assert shop.services.sessions.get(session.session_id) == session
    assert shop.redis_state() == {}
