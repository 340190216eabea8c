"""Changes of sessions: what may change when, once for each version, wherever one is killed."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from core import errors
from core.redis import clock, keys, scripts
from core.rules.lifecycle import Status
from core.rules.scoring import terms_of
from core.sessions.sessions import SessionView
from core.sessions.shop_events import document_of
from tests.integration.sessions.test_early_end import come_back_older, save
from tests.support.crashing import Killed
from tests.support.factories import Shop
from web.http import schemas

HOUR = timedelta(hours=1)


def now(shop: Shop) -> datetime:
    return clock.now(shop.services.redis)


def scheduled(shop: Shop) -> SessionView:
    return shop.session(start_time=now(shop) + HOUR)


def change(shop: Shop, session: SessionView, **changes: Any) -> SessionView:
    return shop.services.session_edits.change(session.session_id, session.version, changes)


def current(shop: Shop, session: SessionView) -> SessionView:
    return shop.services.sessions.get(session.session_id)


def gate(shop: Shop, session: SessionView) -> dict[str, str]:
    return shop.services.redis.hgetall(keys.session_params(session.session_id))


def assert_gate_follows(shop: Shop, session: SessionView) -> None:
    """Redis decides by what PostgreSQL says."""
    found, stored = gate(shop, session), current(shop, session)
    assert int(found["start"]) == clock.to_microseconds(stored.start_time)
    assert int(found["end"]) == clock.to_microseconds(stored.end_time)
    terms = terms_of(stored)
    numbers = {name: float(found[name]) for name in terms}
    assert numbers == {name: float(value) for name, value in terms.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {"upset_price": Decimal("7.50")},
        {"inventory": 9},
        {"alpha": 1.0, "beta": 0.25, "gamma": 0.0},
        {"allow_lower_bids": True},
        {"name": "Lamp", "description": "Bright"},
    ],
)
def test_every_term_may_change_before_the_start(shop: Shop, changes: dict[str, Any]) -> None:
    session = scheduled(shop)
    changed = change(shop, session, **changes)
    assert changed == current(shop, session)
    assert {name: getattr(changed, name) for name in changes} == changes
    assert changed.version == session.version + 1
    assert_gate_follows(shop, session)


@pytest.mark.parametrize("field", ["start_time", "end_time", "duration"])
def test_the_time_may_move_before_the_start(shop: Shop, field: str) -> None:
    session = scheduled(shop)
    start, end = session.start_time, session.end_time
    value, expected = {
        "start_time": (start + HOUR, (start + HOUR, end + HOUR)),
        "end_time": (end + HOUR, (start, end + HOUR)),
        "duration": (HOUR / 2, (start, start + HOUR / 2)),
    }[field]
    changed = change(shop, session, **{field: value})
    assert (changed.start_time, changed.end_time) == expected
    assert changed.status is Status.SCHEDULED
    assert_gate_follows(shop, session)


def test_a_session_whose_start_is_moved_to_now_takes_bids_by_its_new_terms(shop: Shop) -> None:
    session = scheduled(shop)
    changed = change(shop, session, start_time=None, alpha=1.0, beta=0.0, gamma=0.0)
    assert changed.status is Status.ACTIVE
    assert shop.bid(shop.bidder(), session, "150").score == 150.0
    assert not [check for check in shop.services.audit.verify(session.session_id) if check.shown]


def test_a_paused_session_that_has_not_started_stays_paused(shop: Shop) -> None:
    session = scheduled(shop)
    shop.services.sessions.deactivate(session.session_id)
    changed = change(shop, current(shop, session), inventory=9)
    assert (changed.status, gate(shop, session)["status"]) == (Status.INACTIVE, "inactive")


@pytest.mark.parametrize("paused", [False, True])
def test_a_running_session_may_end_later_and_have_another_name(shop: Shop, paused: bool) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    if paused:
        session = shop.services.sessions.deactivate(session.session_id)
    later = session.end_time + HOUR
    changed = change(shop, session, name="Lamp", end_time=later, inventory=session.inventory)
    assert (changed.name, changed.end_time, changed.status) == ("Lamp", later, session.status)
    assert changed.version == session.version + 1
    assert_gate_follows(shop, session)


@pytest.mark.parametrize(
    "changes",
    [
        {"inventory": 9},
        {"start_time": None},
        {"duration": HOUR / 2},
        {"name": "Lamp", "upset_price": Decimal("1.00")},
    ],
)
def test_the_terms_of_a_running_session_stand(shop: Shop, changes: dict[str, Any]) -> None:
    session = shop.session()
    before = shop.redis_state()
    with pytest.raises(errors.SessionAlreadyStarted):
        change(shop, session, **changes)
    assert (current(shop, session), shop.redis_state()) == (session, before)


def test_the_terms_stand_after_a_bid_even_if_the_clock_is_set_back(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    shop.move_start(session, now(shop) + HOUR / 2)
    for _ in range(2):
        with pytest.raises(errors.SessionAlreadyStarted):
            change(shop, session, inventory=9)
        shop.drain(session)
    assert_gate_follows(shop, session)


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (-HOUR, errors.InvalidTerms),
        (HOUR / 2, errors.InvalidTerms),
        (timedelta(days=31), errors.InvalidTerms),
    ],
)
def test_an_end_that_makes_no_session_is_refused(
    shop: Shop, end: timedelta, error: type[Exception]
) -> None:
    session = scheduled(shop)
    with pytest.raises(error) as refused:
        change(shop, session, end_time=now(shop) + end)
    assert refused.value.field == "end_time"
    assert_gate_follows(shop, session)


def test_what_is_sent_as_it_is_changes_nothing(shop: Shop) -> None:
    session = shop.session()
    same = change(shop, session, **terms_of(session), end_time=session.end_time, name="Item")
    assert same == session == current(shop, session)


def test_a_change_of_an_older_version_is_refused_with_the_current_one(shop: Shop) -> None:
    session = scheduled(shop)
    changed = change(shop, session, inventory=4)
    with pytest.raises(errors.VersionConflict) as refused:
        change(shop, session, inventory=9)
    assert refused.value.extra == {"version": changed.version}
    assert current(shop, session).inventory == 4


def test_every_change_of_the_shops_is_a_version(shop: Shop) -> None:
    sessions, session = shop.services.sessions, scheduled(shop)
    moves = [sessions.activate, sessions.activate, sessions.deactivate, sessions.end_now]
    seen = [move(session.session_id).version for move in moves]
    assert seen == [2, 2, 3, 4]
    assert shop.services.closing.close(session.session_id)
    assert current(shop, session).version == 5


def test_an_ended_session_does_not_change(shop: Shop) -> None:
    session = shop.session()
    shop.end(session)
    with pytest.raises(errors.SessionEnded):
        change(shop, session, end_time=now(shop) + HOUR)
    shop.services.closing.close(session.session_id)
    with pytest.raises(errors.SessionEnded):
        change(shop, session, name="Lamp")
    with pytest.raises(errors.SessionNotFound):
        shop.services.session_edits.change(uuid4(), 1, {})


def test_a_gate_that_was_shut_early_is_not_opened_by_a_later_end(shop: Shop) -> None:
    session = shop.session()
    # As an early end leaves it that was killed before its commit.
    names = [keys.session_params(session.session_id)]
    scripts.shut_gate(shop.services.redis, names, ["early", int(gate(shop, session)["end"])])
    with pytest.raises(errors.SessionEnded):
        change(shop, session, end_time=session.end_time + HOUR)
    shop.services.session_edits.align_gates()
    assert gate(shop, session)["status"] == "ended"


# --- Killed anywhere -----------------------------------------------------------------


def kill_after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Let the process die when this step is done."""
    step = getattr(owner, name)

    def run_and_die(*args: Any) -> None:
        step(*args)
        raise Killed

    monkeypatch.setattr(owner, name, run_and_die)


def kill_before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(owner, name, die)


@pytest.mark.parametrize(
    ("step", "is_changed"),
    [("_require_open", False), ("_unload", False), ("load", True)],
)
def test_a_killed_change_of_the_terms_is_made_or_not(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str, is_changed: bool
) -> None:
    session, bidder = scheduled(shop), shop.bidder()
    edits = shop.services.session_edits
    with monkeypatch.context() as patch:
        if step == "load":
            kill_before(patch, edits._sessions, step)
        else:
            kill_after(patch, edits, step)
        with pytest.raises(Killed):
            change(shop, session, inventory=9, upset_price=Decimal("120.00"))
    edits.align_gates()
    # The first who asks loads it.
    with pytest.raises(errors.SessionNotStarted):
        shop.bid(bidder, session, "150")
    assert current(shop, session).inventory == (9 if is_changed else session.inventory)
    assert_gate_follows(shop, session)


@pytest.mark.parametrize(("step", "is_changed"), [("_require_open", False), ("_follow", True)])
def test_a_killed_change_of_the_end_is_made_or_not(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str, is_changed: bool
) -> None:
    session = shop.session()
    edits, later = shop.services.session_edits, session.end_time + HOUR
    with monkeypatch.context() as patch:
        kill_before(patch, edits, step)
        with pytest.raises(Killed):
            change(shop, session, end_time=later)
    # Never open for longer than PostgreSQL says.
    assert int(gate(shop, session)["end"]) == clock.to_microseconds(session.end_time)
    edits.align_gates()
    assert current(shop, session).end_time == (later if is_changed else session.end_time)
    assert_gate_follows(shop, session)


@pytest.mark.parametrize("move", ["deactivate", "change"])
def test_a_redis_that_came_back_older_follows_postgresql(shop: Shop, move: str) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    save(shop)
    if move == "deactivate":
        shop.services.sessions.deactivate(session.session_id)
    else:
        change(shop, session, end_time=session.end_time + HOUR)
    come_back_older(shop)
    shop.services.session_edits.align_gates()
    assert_gate_follows(shop, session)
    assert gate(shop, session)["status"] == current(shop, session).status


def test_gates_that_agree_are_left_alone(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduled_one = scheduled(shop)
    shop.session()
    shop.services.sessions.deactivate(shop.session().session_id)
    shop.begin(scheduled_one)
    shop.services.sessions.open_due()
    before = shop.redis_state()
    monkeypatch.delattr(type(shop.services.session_edits), "_follow")
    shop.services.session_edits.align_gates()
    assert shop.redis_state() == before


# --- What the shop's systems hear ----------------------------------------------------


def heard(shop: Shop, session: SessionView) -> list[tuple[str, int, str]]:
    return shop.rows(
        "SELECT event, version, data->>'status' FROM shop_events"
        " WHERE subject_id = :id AND session_id = :id ORDER BY version",
        id=session.session_id,
    )


CREATED, STARTED = "session.created", "session.started"


def test_the_shop_hears_of_a_session_that_opens_at_once(shop: Shop) -> None:
    session = shop.session()
    assert heard(shop, session) == [(CREATED, 1, "active"), (STARTED, 2, "active")]


@pytest.mark.parametrize("by_tick", [False, True])
def test_the_shop_hears_of_a_start_once(shop: Shop, by_tick: bool) -> None:
    session, sessions = scheduled(shop), shop.services.sessions
    assert heard(shop, session) == [(CREATED, 1, "scheduled")]
    if by_tick:
        shop.begin(session)
        assert sessions.open_due() == 1
    for _ in range(2):
        sessions.activate(session.session_id)
        sessions.deactivate(session.session_id)
    assert heard(shop, session) == [(CREATED, 1, "scheduled"), (STARTED, 2, "active")]


def test_the_shop_hears_of_a_session_as_clients_see_it(shop: Shop) -> None:
    session = shop.session(upset_price=Decimal("99.90"), beta=1e-7)
    [(told,)] = shop.rows("SELECT data FROM shop_events WHERE event = :name", name=STARTED)
    assert told == schemas.Session().dump(session) == document_of(session)
