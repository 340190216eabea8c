"""Cancelled sessions: nobody wins, everybody is told, and nothing opens them again."""

from typing import Any

import pytest

from core import errors
from core.redis import keys
from core.rules.lifecycle import Status
from core.sessions.sessions import SessionView
from tests.integration.sessions.test_early_end import come_back_older, differences, save
from tests.integration.sessions.test_editing import change, current, gate, kill_before, scheduled
from tests.support.crashing import Killed
from tests.support.factories import Shop

REASON = "The items arrived damaged."


def with_bids(shop: Shop) -> SessionView:
    """A session with three bids of two members, of which one is persisted."""
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    shop.drain(session)
    shop.bid(bidder, session, "130")
    shop.bid(shop.bidder(), session, "140")
    return session


def cancel(shop: Shop, session: SessionView, version: int | None = None) -> SessionView:
    return shop.services.session_edits.cancel(session.session_id, REASON, version)


def settle(shop: Shop, session: SessionView) -> bool:
    """What beat's ticks and the jobs that they enqueue do."""
    edits, closing = shop.services.session_edits, shop.services.closing
    edits.align_gates()
    settled = [closing.close(session_id) for session_id in closing.due()]
    shop.services.announcing.announce(session.session_id, seconds=30)
    return any(settled)


def cancel_and_settle(shop: Shop, session: SessionView) -> None:
    cancel(shop, session)
    settle(shop, session)


def told(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows("SELECT DISTINCT kind, count(*) FROM notifications GROUP BY kind")


def assert_is_cancelled(shop: Shop, session: SessionView, bids: int = 3, bidders: int = 2) -> None:
    """Whatever happened, this is what is left."""
    view = current(shop, session)
    assert (view.status, view.cancel_reason, view.closed_at) == (Status.CANCELLED, REASON, None)
    assert shop.rows("SELECT count(*) FROM bids") == [(bids,)]
    assert shop.rows("SELECT count(*) FROM rankings") == [(0,)]
    assert told(shop) == ([("session_cancelled", bidders)] if bidders else [])
    assert shop.services.announcing.unfinished() == shop.services.closing.due() == []
    assert differences(shop, session) == []
    board = shop.services.board.page(session.session_id, page=1, page_size=10)
    assert (board.status, board.provisional, board.leaderboard) == (Status.CANCELLED, False, [])
    with pytest.raises(errors.SessionEnded):
        shop.bid(shop.bidder(), session, "150")


def test_a_cancelled_session_takes_no_bids_and_has_no_winners(shop: Shop) -> None:
    session = with_bids(shop)
    cancelled = cancel(shop, session)
    assert cancelled.version == session.version + 1
    assert gate(shop, session)["status"] == "cancelled"
    assert settle(shop, session)
    assert_is_cancelled(shop, session)
    names = shop.services.redis.keys(f"*{session.session_id}*")
    assert all(shop.services.redis.ttl(name) > 0 for name in names)
    assert not settle(shop, session)


@pytest.mark.parametrize("paused", [False, True])
def test_a_session_may_be_cancelled_before_its_start(shop: Shop, paused: bool) -> None:
    session = scheduled(shop)
    if paused:
        shop.services.sessions.deactivate(session.session_id)
    cancel(shop, session)
    settle(shop, session)
    assert_is_cancelled(shop, session, bids=0, bidders=0)
    shop.begin(session)
    assert shop.services.sessions.open_due() == 0
    assert current(shop, session).status is Status.CANCELLED


def test_a_cancelled_session_stays_as_it_is(shop: Shop) -> None:
    session = with_bids(shop)
    cancelled, sessions = cancel(shop, session), shop.services.sessions
    for move in (sessions.activate, sessions.deactivate, sessions.end_now):
        with pytest.raises(errors.SessionCancelled):
            move(session.session_id)
    with pytest.raises(errors.SessionCancelled):
        change(shop, cancelled, name="Lamp")
    with pytest.raises(errors.SessionCancelled):
        shop.services.results.get(session.session_id, page=1, page_size=50)
    with pytest.raises(errors.SessionCancelled):
        shop.services.board.standing(session.session_id, shop.bidder().user_id)
    again = shop.services.session_edits.cancel(session.session_id, "Another.", session.version)
    assert again == cancelled == current(shop, session)


def test_a_session_that_is_over_is_not_cancelled(shop: Shop) -> None:
    session = with_bids(shop)
    with pytest.raises(errors.VersionConflict):
        cancel(shop, session, version=1)
    shop.end(session)
    for _ in range(2):
        with pytest.raises(errors.SessionEnded):
            cancel(shop, session)
        shop.services.closing.close(session.session_id)
    assert shop.rows("SELECT count(*) FROM rankings") == [(2,)]


def test_a_cancelled_session_gives_no_weight(shop: Shop) -> None:
    session = with_bids(shop)
    cancel(shop, session)
    settle(shop, session)
    shop.services.weights.recompute_bidders_of(session.session_id, session.end_time)
    assert shop.rows("SELECT DISTINCT weight FROM users") == [(1.0,)]
    assert shop.services.weights.claim_due() == []


@pytest.mark.parametrize("lost", ["all", "params", "ranking"])
def test_a_cancelled_session_that_redis_lost_stays_shut(shop: Shop, lost: str) -> None:
    session = with_bids(shop)
    shop.drain(session)
    cancel(shop, session)
    if lost == "all":
        shop.services.redis.flushdb()
    else:
        key = {"params": keys.session_params, "ranking": keys.ranking}[lost]
        shop.services.redis.delete(key(session.session_id))
    with pytest.raises(errors.SessionEnded):
        shop.services.loader.rebuild(session.session_id)
    settle(shop, session)
    assert_is_cancelled(shop, session)


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_redis_that_came_back_older_is_shut_again(shop: Shop, is_settled: bool) -> None:
    session = with_bids(shop)
    save(shop)
    cancel(shop, session)
    if is_settled:
        settle(shop, session)
    come_back_older(shop)
    shop.bid(shop.bidder(), session, "150")
    assert settle(shop, session) is not is_settled
    # Who has bid after everybody was told is not told.
    assert_is_cancelled(shop, session, bids=4, bidders=2 if is_settled else 3)


# --- Killed anywhere -----------------------------------------------------------------

CLOSING = ["_shut_gate", "_bid_log", "_write_results", "_expire_all", "_publish"]


@pytest.mark.parametrize("redis_is_lost", [False, True])
@pytest.mark.parametrize("step", ["decided", "committed", *CLOSING, "announced"])
def test_a_killed_cancellation_is_done_or_not(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str, redis_is_lost: bool
) -> None:
    session = with_bids(shop)
    if redis_is_lost:
        shop.drain(session)
    with monkeypatch.context() as patch:
        die_before(shop, patch, step)
        with pytest.raises(Killed):
            cancel_and_settle(shop, session)
    if redis_is_lost:
        shop.services.redis.flushdb()
    if step == "decided":
        assert not settle(shop, session)
        assert current(shop, session) == session
        assert shop.bid(shop.bidder(), session, "150").sequence >= 4
        return
    settle(shop, session)
    assert_is_cancelled(shop, session)


def die_before(shop: Shop, patch: pytest.MonkeyPatch, step: str) -> None:
    """Let the process die before this step of a cancellation."""
    services = shop.services
    if step == "decided":
        kill_before(patch, services.session_edits, "_require_open")
    elif step == "committed":
        kill_before(patch, services.session_edits, "_shut_gate")
    elif step == "announced":
        kill_before(patch, services.announcing, "_announce_cancelled")
    elif step == "_bid_log":
        kill_before(patch, services.bid_log, "persist_through")
    else:
        kill_before(patch, services.closing, step)


def test_bidders_are_not_told_before_all_bids_are_persisted(shop: Shop) -> None:
    session = with_bids(shop)
    cancel(shop, session)
    assert shop.services.announcing.announce(session.session_id, seconds=30).members == 0
    assert told(shop) == []
    assert shop.services.announcing.unfinished() == [session.session_id]


def test_the_shop_hears_of_a_cancellation_once(shop: Shop) -> None:
    session = with_bids(shop)
    for _ in range(2):
        cancelled = cancel(shop, session)
    assert shop.rows(
        "SELECT version, data->>'status', data->>'cancel_reason' FROM shop_events"
        " WHERE event = 'session.cancelled'"
    ) == [(cancelled.version, "cancelled", REASON)]
