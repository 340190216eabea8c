"""Changes, cancellations and closes of one session at one instant: one of them wins."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from core import errors
from core.postgres.models import BiddingSession
from core.redis import clock, keys, scripts
from core.sessions.sessions import SessionView
from tests.concurrency.test_closing import session_with_bids
from tests.support.factories import Shop
from tests.support.racing import BARRIER_SECONDS, of, together, wait_for_blocked

HOUR = timedelta(hours=1)
EDITS = 6


def change(shop: Shop, session: SessionView, **changes: Any) -> SessionView:
    return shop.services.session_edits.change(session.session_id, session.version, changes)


def cancel(shop: Shop, session: SessionView) -> SessionView:
    return shop.services.session_edits.cancel(session.session_id, "Damaged.", session.version)


@pytest.mark.parametrize("ahead", [timedelta(0), HOUR])
def test_of_changes_at_one_instant_one_wins(shop: Shop, ahead: timedelta) -> None:
    session = shop.session(start_time=clock.now(shop.services.redis) + ahead)
    outcomes = together(
        *[
            lambda number=number: change(shop, session, name=f"by {number}")
            for number in range(EDITS)
        ]
    )
    [won] = of(SessionView, outcomes)
    assert len(of(errors.VersionConflict, outcomes)) == EDITS - 1
    assert shop.services.sessions.get(session.session_id) == won


def change_without_the_lock(shop: Shop, session: SessionView, barrier: Barrier) -> bool:
    """Look at the version, wait until the other has looked, and write."""
    with shop.services.database.begin() as db:
        version = db.get_one(BiddingSession, session.session_id).version
        barrier.wait(BARRIER_SECONDS)
        if version == session.version:
            db.get_one(BiddingSession, session.session_id).version += 1
    return version == session.version


def test_without_the_lock_two_changes_win(shop: Shop) -> None:
    session, barrier = shop.session(), Barrier(2)
    change_it = lambda: change_without_the_lock(shop, session, barrier)  # noqa: E731 - both the same
    assert together(change_it, change_it) == [True, True]


@pytest.mark.parametrize("edit", [cancel, lambda *of: change(*of, name="Lamp")])
@pytest.mark.parametrize("move", ["deactivate", "end_now"])
def test_of_an_edit_and_another_move_at_one_instant_both_are_in_order(
    shop: Shop, edit: Callable[..., Any], move: str
) -> None:
    session = session_with_bids(shop)
    edited, moved = together(
        lambda: edit(shop, session),
        lambda: getattr(shop.services.sessions, move)(session.session_id),
    )
    view = shop.services.sessions.get(session.session_id)
    kinds = (SessionView, errors.VersionConflict, errors.SessionCancelled, errors.SessionEnded)
    assert isinstance(edited, kinds)
    assert isinstance(moved, kinds)
    assert len(of(SessionView, [edited, moved])) == view.version - session.version


# --- Around the end ------------------------------------------------------------------


def ends_now(shop: Shop, session: SessionView) -> None:
    """Let the session's end pass, in the two places one after the other as on a slow machine."""
    shop.end(session)


def extend(shop: Shop, session: SessionView) -> SessionView:
    return change(shop, session, end_time=session.end_time + HOUR)


@pytest.mark.parametrize("edit", [extend, cancel])
@pytest.mark.parametrize("round_", range(5))
def test_of_an_edit_and_the_close_at_one_instant_one_wins(
    shop: Shop, edit: Callable[..., Any], round_: int
) -> None:
    session = session_with_bids(shop)
    end = clock.now(shop.services.redis) + timedelta(milliseconds=40 + 3 * round_)
    shop.move_end(session, end)

    def close_when_due() -> bool:
        while clock.now(shop.services.redis) < end:
            pass
        return shop.services.closing.close(session.session_id)

    def edit_at_the_end() -> Any:
        while clock.now(shop.services.redis) < end - timedelta(milliseconds=2):
            pass
        return edit(shop, session)

    edited, _ = together(edit_at_the_end, close_when_due)
    closed = shop.services.closing.close(session.session_id)
    assert_one_won(shop, session, edited)
    assert isinstance(edited, SessionView | errors.SessionEnded), closed


def assert_one_won(shop: Shop, session: SessionView, edited: Any) -> None:
    """Either the edit applies and nobody is ranked, or the results are written and it does not."""
    [(ranked,)] = shop.rows("SELECT count(*) FROM rankings")
    view = shop.services.sessions.get(session.session_id)
    is_open = bool(
        set(shop.services.redis.hmget(keys.session_params(session.session_id), "status"))
        & {"active", "cancelled"}
    )
    if isinstance(edited, SessionView):
        assert (ranked, view.closed_at) == (0, None)
        assert is_open
    else:
        assert (ranked, view.cancelled_at) == (6, None)


@pytest.mark.parametrize("has_lock", [True, False])
def test_a_close_does_not_shut_the_gate_of_a_session_that_is_being_extended(
    shop: Shop, has_lock: bool
) -> None:
    session = session_with_bids(shop)
    shop.end(session)
    later = clock.now(shop.services.redis) + HOUR
    with shop.services.database.begin() as db:
        # An extension that was decided in time, and commits late.
        db.get_one(BiddingSession, session.session_id, with_for_update=True).end_time = later
        db.flush()
        if has_lock:
            assert not shop.services.closing.close(session.session_id)
        else:
            shut_without_the_lock(shop, session)
    shop.services.session_edits.align_gates()
    [status] = shop.services.redis.hmget(keys.session_params(session.session_id), "status")
    assert status == ("active" if has_lock else "ended")


def test_a_close_does_not_end_a_session_whose_extension_redis_has_not_got(shop: Shop) -> None:
    session = session_with_bids(shop)
    shop.end(session)
    with shop.services.database.begin() as db:
        # By a process that commits, and dies before Redis follows.
        later = clock.now(shop.services.redis) + HOUR
        db.get_one(BiddingSession, session.session_id).end_time = later
    assert not shop.services.closing.close(session.session_id)
    shop.services.session_edits.align_gates()
    status, end = shop.services.redis.hmget(
        keys.session_params(session.session_id), "status", "end"
    )
    assert (status, int(end)) == ("active", clock.to_microseconds(later))


def shut_without_the_lock(shop: Shop, session: SessionView) -> None:
    """Shut the gate by the end as it was committed, as a close did that asks for no lock."""
    end = shop.services.sessions.get(session.session_id).end_time
    names = [keys.session_params(session.session_id)]
    scripts.shut_gate(shop.services.redis, names, ["due", clock.to_microseconds(end)])


def test_a_load_that_waits_for_a_cancellation_does_not_open_the_gate(shop: Shop) -> None:
    session = session_with_bids(shop)
    shop.drain(session)
    shop.services.redis.delete(keys.session_params(session.session_id))
    with ThreadPoolExecutor(1) as thread:
        with shop.services.engine.begin() as cancelling:
            cancelling.exec_driver_sql(
                "UPDATE sessions SET status = 'cancelled', cancelled_at = now()"
            )
            load = thread.submit(shop.services.loader.load, session.session_id)
            wait_for_blocked(shop)
        with pytest.raises(errors.SessionEnded):
            load.result(BARRIER_SECONDS)
    assert not shop.services.redis.exists(keys.session_params(session.session_id))
