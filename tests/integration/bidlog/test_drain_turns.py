"""Drains that take turns, the sweep behind them, and a trim that was missed."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from core import errors
from core.bidlog.drain import DRAIN_TRUST_US, Batch
from core.redis import clock, keys
from core.sessions.sessions import SessionView
from tests.integration.bidlog.draining import (
    CrashError,
    DiesBeforeTrim,
    bid_log,
    events,
    log_of,
    mark,
    offset,
    promptly,
    rewrite_log,
    sequences,
    session_with_bids,
    set_mark,
)
from tests.support.factories import Shop

# --- Taking turns --------------------------------------------------------------------


def test_a_second_drain_leaves_at_once_while_the_first_is_at_work(shop: Shop) -> None:
    session = session_with_bids(shop, 2)
    with shop.services.engine.begin() as first:
        first.execute(text("SELECT 1 FROM bid_log_offsets FOR UPDATE"))
        assert promptly(lambda: shop.drain(session)) == 0
    assert len(log_of(shop, session)) == 2
    assert shop.drain(session) == 2


def test_drains_of_two_sessions_do_not_wait_for_each_other(shop: Shop) -> None:
    busy, other = session_with_bids(shop, 1), session_with_bids(shop, 1)
    with shop.services.engine.begin() as first:
        first.execute(
            text("SELECT 1 FROM bid_log_offsets WHERE session_id = :id FOR UPDATE"),
            {"id": busy.session_id},
        )
        assert promptly(lambda: shop.drain(other)) == 1


# --- The sweep -----------------------------------------------------------------------


def test_a_log_whose_drain_is_trusted_to_come_is_not_swept(shop: Shop) -> None:
    session_with_bids(shop, 1)
    assert bid_log(shop).claim_backlogged() == []


@pytest.mark.parametrize("lost", ["lapsed", "cleared"])
def test_a_log_whose_drain_did_not_come_is_swept_once(shop: Shop, lost: str) -> None:
    session = session_with_bids(shop, 1)
    if lost == "lapsed":
        set_mark(shop, session, seconds_from_now=-1)
    else:
        shop.services.redis.hdel(keys.session_params(session.session_id), "drain_trusted_until")
    assert bid_log(shop).claim_backlogged() == [session.session_id]
    assert bid_log(shop).claim_backlogged() == []


def test_a_mark_from_before_the_clock_was_set_back_keeps_no_log_from_the_sweep(shop: Shop) -> None:
    session = session_with_bids(shop, 1)
    set_mark(shop, session, seconds_from_now=3600)
    assert bid_log(shop).claim_backlogged() == [session.session_id]
    assert bid_log(shop).claim_backlogged() == []


def test_a_swept_log_is_trusted_to_be_drained_for_five_seconds(shop: Shop) -> None:
    session = session_with_bids(shop, 1)
    set_mark(shop, session, seconds_from_now=-1)
    before = clock.to_microseconds(clock.now(shop.services.redis))
    bid_log(shop).claim_backlogged()
    after = clock.to_microseconds(clock.now(shop.services.redis))
    assert before + DRAIN_TRUST_US <= (mark(shop, session) or 0) <= after + DRAIN_TRUST_US
    shop.bid(shop.bidder(), session, "120")
    assert len(shop.drains_scheduled) == 1


def test_an_empty_log_is_not_swept(shop: Shop) -> None:
    session = session_with_bids(shop, 1)
    shop.drain(session)
    before = shop.redis_state()
    assert bid_log(shop).claim_backlogged() == []
    assert shop.redis_state() == before


def test_the_log_of_a_closed_session_is_not_swept(shop: Shop) -> None:
    session = session_with_bids(shop, 1)
    entries = log_of(shop, session)
    shop.close(session)
    name = keys.bid_log(session.session_id)
    shop.services.redis.delete(name)
    shop.services.redis.xadd(name, entries[0][1], id="1-0")
    assert bid_log(shop).claim_backlogged() == []


def test_a_log_that_outlived_its_params_is_swept_without_making_new_ones(shop: Shop) -> None:
    session = session_with_bids(shop, 1)
    shop.services.redis.delete(keys.session_params(session.session_id))
    assert bid_log(shop).claim_backlogged() == [session.session_id]
    assert not shop.services.redis.exists(keys.session_params(session.session_id))
    assert shop.drain(session) == 1


# --- Before a close ------------------------------------------------------------------


def test_a_close_persists_all_that_was_given_out(shop: Shop) -> None:
    session = session_with_bids(shop, 5)
    bid_log(shop, batch_size=2).persist_through(session.session_id, 5, seconds=30)
    assert sequences(shop) == [1, 2, 3, 4, 5]


def test_a_close_has_nothing_to_do_when_all_is_persisted(shop: Shop) -> None:
    session = session_with_bids(shop, 2)
    shop.drain(session)
    bid_log(shop).persist_through(session.session_id, 2, seconds=0)
    assert (offset(shop), events(shop)) == (2, [])


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_missing_tail_is_a_gap_and_does_not_hold_up_the_close(shop: Shop, left: int) -> None:
    session = session_with_bids(shop, 4)
    kept = {f"{sequence}-0" for sequence in range(1, left + 1)}
    rewrite_log(shop, session, lambda entry_id, fields: fields if entry_id in kept else None)
    bid_log(shop).persist_through(session.session_id, 4, seconds=30)
    assert sequences(shop) == list(range(1, left + 1))
    assert offset(shop) == 4
    assert events(shop) == [("bid_log_gap", {"first_missing": left + 1, "last_missing": 4})]


def test_a_close_gives_up_on_a_drain_that_takes_too_long(shop: Shop) -> None:
    session = session_with_bids(shop, 2)
    with shop.services.engine.begin() as first:
        first.execute(text("SELECT 1 FROM bid_log_offsets FOR UPDATE"))
        with pytest.raises(errors.TemporarilyUnavailable):
            promptly(lambda: bid_log(shop).persist_through(session.session_id, 2, seconds=0))
    assert (offset(shop), events(shop)) == (0, [])


# --- A missed trim -------------------------------------------------------------------


def test_a_missed_trim_of_a_long_log_is_caught_up_with_a_batch_at_a_time(shop: Shop) -> None:
    """Bytes that Redis has sent are the measure: the whole log in one reply would stop it."""
    session = session_with_bids(shop, 1)
    lengthen_log(shop, session, 4000)
    whole_log = bytes_sent(shop, lambda: log_of(shop, session))
    with pytest.raises(CrashError):
        bid_log(shop, DiesBeforeTrim, batch_size=20).run_once(session.session_id)

    log, batches = bid_log(shop, batch_size=20), []
    assert bytes_sent(shop, lambda: batches.append(log.run_once(session.session_id))) < (
        whole_log / 20
    )
    assert batches == [Batch(rows=20, persisted_sequence=40, handled_through=40)]
    assert (sequences(shop), events(shop)) == (list(range(1, 41)), [])


def test_bids_behind_a_missed_trim_are_persisted_with_it(shop: Shop) -> None:
    session = session_with_bids(shop, 3)
    with pytest.raises(CrashError):
        bid_log(shop, DiesBeforeTrim).run_once(session.session_id)
    shop.bid(shop.bidder(), session, "120")
    assert bid_log(shop, batch_size=3).run_once(session.session_id) == Batch(1, 4, 4)
    assert (sequences(shop), log_of(shop, session), events(shop)) == ([1, 2, 3, 4], [], [])


def test_trims_that_were_missed_twice_are_made_up_for_before_anything_is_persisted(
    shop: Shop,
) -> None:
    session = session_with_bids(shop, 6)
    for _ in range(2):
        with pytest.raises(CrashError):
            bid_log(shop, DiesBeforeTrim, batch_size=2).run_once(session.session_id)
    log = bid_log(shop, batch_size=2)
    assert log.run_once(session.session_id) == Batch(0, 4, 2)
    assert log.run_once(session.session_id) == Batch(2, 6, 6)
    assert (sequences(shop), log_of(shop, session), events(shop)) == (list(range(1, 7)), [], [])


def lengthen_log(shop: Shop, session: SessionView, length: int) -> None:
    """Repeat the log's first entry until there are so many."""
    [(_, fields)] = log_of(shop, session)
    with shop.services.redis.pipeline(transaction=False) as pipeline:
        for sequence in range(2, length + 1):
            pipeline.xadd(keys.bid_log(session.session_id), fields, id=f"{sequence}-0")
        pipeline.execute()


def bytes_sent(shop: Shop, call: Callable[[], Any]) -> int:
    """How much Redis sends while this runs."""
    redis = shop.services.redis
    before = redis.info("stats")["total_net_output_bytes"]
    call()
    return redis.info("stats")["total_net_output_bytes"] - before
