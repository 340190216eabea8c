"""The drain: every bid once, whatever dies between which two steps."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from core import errors, outages
from core.bidlog.drain import DRAIN_TRUST_US, Batch, BidLog, Drained
from core.bidlog.entries import LoggedBid
from core.bidlog.rewind import PendingBid
from core.redis import clock, keys
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

Fields = dict[str, str]


class CrashError(Exception):
    """The process dies here."""


class DiesBeforeCommit(BidLog):
    def _persist_next(self, db: Session, session_id: UUID, offset: int) -> Batch:
        super()._persist_next(db, session_id, offset)
        db.flush()
        raise CrashError


class DiesBeforeTrim(BidLog):
    def _trim(self, session_id: UUID, handled_through: int) -> None:
        raise CrashError


class LosesItsConnection(BidLog):
    def _checked(self, db: Session, session_id: UUID, due: Sequence[PendingBid]) -> list[LoggedBid]:
        pid = db.scalar(text("SELECT pg_backend_pid()"))
        with self._database.begin() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        return super()._checked(db, session_id, due)


class FindsTheTableLocked(BidLog):
    """COPY runs into a limit of time while another connection holds the table."""

    def _checked(self, db: Session, session_id: UUID, due: Sequence[PendingBid]) -> list[LoggedBid]:
        db.execute(text("SET LOCAL lock_timeout = '20ms'"))
        return super()._checked(db, session_id, due)


def bid_log(shop: Shop, kind: type[BidLog] = BidLog, batch_size: int = 5000) -> BidLog:
    return kind(shop.services.database, shop.services.redis, batch_size=batch_size)


def session_with_bids(shop: Shop, bids: int) -> SessionView:
    session = shop.session()
    for _ in range(bids):
        shop.bid(shop.bidder(), session, "120")
    return session


def log_of(shop: Shop, session: SessionView) -> list[tuple[str, Fields]]:
    return shop.services.redis.xrange(keys.bid_log(session.session_id))


def rewrite_log(shop: Shop, session: SessionView, change: Callable[[str, Fields], Any]) -> None:
    """Write the log anew; `change` gives an entry's fields, nothing to leave it out."""
    entries = log_of(shop, session)
    name = keys.bid_log(session.session_id)
    shop.services.redis.delete(name)
    for entry_id, fields in entries:
        changed = change(entry_id, fields)
        if changed:
            shop.services.redis.xadd(name, changed, id=entry_id)


def promptly(call: Callable[[], Any]) -> Any:
    """What the call returns; an error when it waits for a lock that the test holds."""
    thread = ThreadPoolExecutor(1)
    try:
        return thread.submit(call).result(timeout=60)
    finally:
        thread.shutdown(wait=False)


def sequences(shop: Shop) -> list[int]:
    return [row[0] for row in shop.rows("SELECT sequence FROM bids ORDER BY sequence")]


def offset(shop: Shop) -> int:
    [(persisted,)] = shop.rows("SELECT persisted_sequence FROM bid_log_offsets")
    return persisted


def events(shop: Shop) -> list[tuple[str, dict[str, Any]]]:
    return shop.rows("SELECT kind, details FROM session_events ORDER BY id")  # type: ignore[return-value]


def mark(shop: Shop, session: SessionView) -> int | None:
    name = keys.session_params(session.session_id)
    trusted_until = shop.services.redis.hget(name, "drain_trusted_until")
    return trusted_until and int(trusted_until)


def set_mark(shop: Shop, session: SessionView, seconds_from_now: float) -> None:
    now = clock.to_microseconds(clock.now(shop.services.redis))
    shop.services.redis.hset(
        keys.session_params(session.session_id),
        "drain_trusted_until",
        now + int(seconds_from_now * 1_000_000),
    )


# --- One drain -----------------------------------------------------------------------


def test_a_drain_moves_bids_into_postgresql_and_empties_the_log(shop: Shop) -> None:
    session = session_with_bids(shop, 4)
    logged = log_of(shop, session)
    assert shop.drain(session) == 4
    assert log_of(shop, session) == []
    assert offset(shop) == 4
    assert [
        {
            "user_id": str(user_id),
            "price": str(price),
            "score": f"{score:.17g}",
            "response_time": f"{response_time:.17g}",
            "weight": repr(weight),
            "accepted_at": str(clock.to_microseconds(accepted_at)),
        }
        for user_id, price, score, response_time, weight, accepted_at in shop.rows(
            "SELECT user_id, price, score, response_time, weight, accepted_at"
            "  FROM bids ORDER BY sequence"
        )
    ] == [fields for _, fields in logged]


def test_a_drain_of_an_empty_log_does_nothing(shop: Shop) -> None:
    session = session_with_bids(shop, 1)
    assert [shop.drain(session), shop.drain(session)] == [1, 0]
    assert sequences(shop) == [1]


def test_a_drain_of_a_session_that_nobody_made_does_nothing(shop: Shop) -> None:
    assert bid_log(shop).drain(UUID(int=1), seconds=1) == Drained(0)


@pytest.mark.parametrize("bids", [1, 2, 3, 4, 6, 7])
def test_no_bid_is_lost_or_doubled_where_two_batches_meet(shop: Shop, bids: int) -> None:
    session = session_with_bids(shop, bids)
    assert bid_log(shop, batch_size=3).drain(session.session_id, seconds=30) == Drained(bids)
    assert sequences(shop) == list(range(1, bids + 1))
    assert events(shop) == []


def test_a_drain_out_of_time_says_that_it_left_entries(shop: Shop) -> None:
    session = session_with_bids(shop, 5)
    slow = bid_log(shop, batch_size=2)
    assert slow.drain(session.session_id, seconds=0) == Drained(2, unfinished=True)
    assert [entry_id for entry_id, _ in log_of(shop, session)] == ["3-0", "4-0", "5-0"]
    assert shop.drain(session) == 3


def test_sessions_are_drained_apart(shop: Shop) -> None:
    one, other = session_with_bids(shop, 2), session_with_bids(shop, 3)
    assert shop.drain(one) == 2
    assert len(log_of(shop, other)) == 3


def test_a_bid_after_a_drain_schedules_another(shop: Shop) -> None:
    session = session_with_bids(shop, 2)
    shop.drain(session)
    shop.bid(shop.bidder(), session, "120")
    assert len(shop.drains_scheduled) == 2


# --- Crashes -------------------------------------------------------------------------


def test_a_crash_before_the_commit_leaves_log_rows_and_offset_as_they_were(shop: Shop) -> None:
    session = session_with_bids(shop, 3)
    before = log_of(shop, session)
    with pytest.raises(CrashError):
        bid_log(shop, DiesBeforeCommit).drain(session.session_id, seconds=30)
    assert (log_of(shop, session), sequences(shop), offset(shop)) == (before, [], 0)
    assert shop.drain(session) == 3
    assert sequences(shop) == [1, 2, 3]


def test_the_log_is_trimmed_only_after_the_commit(shop: Shop) -> None:
    session = session_with_bids(shop, 3)
    with pytest.raises(CrashError):
        bid_log(shop, DiesBeforeTrim).drain(session.session_id, seconds=30)
    assert (sequences(shop), offset(shop)) == ([1, 2, 3], 3)
    assert len(log_of(shop, session)) == 3


def test_a_drain_goes_on_after_a_crash_before_the_trim(shop: Shop) -> None:
    session = session_with_bids(shop, 3)
    with pytest.raises(CrashError):
        bid_log(shop, DiesBeforeTrim).drain(session.session_id, seconds=30)
    shop.bid(shop.bidder(), session, "120")
    assert shop.drain(session) == 1
    assert (sequences(shop), log_of(shop, session), events(shop)) == ([1, 2, 3, 4], [], [])


def test_a_drain_after_a_crash_before_the_trim_does_not_read_the_whole_log(shop: Shop) -> None:
    """It may be the backlog of an outage, and the transaction is silent meanwhile."""
    session = session_with_bids(shop, 1)
    [(_, fields)] = log_of(shop, session)
    name = keys.bid_log(session.session_id)
    with shop.services.redis.pipeline() as pipeline:
        for sequence in range(2, 3001):
            pipeline.xadd(name, fields, id=f"{sequence}-0")
        pipeline.execute()
    with pytest.raises(CrashError):
        bid_log(shop, DiesBeforeTrim, batch_size=1).run_once(session.session_id)
    sent_before = shop.services.redis.info("stats")["total_net_output_bytes"]
    assert bid_log(shop, batch_size=1).run_once(session.session_id) == Batch(1, 2, 2)
    sent = shop.services.redis.info("stats")["total_net_output_bytes"] - sent_before
    assert sent < shop.services.redis.memory_usage(name)


def test_entries_that_postgresql_has_are_trimmed_and_not_read_again(shop: Shop) -> None:
    session = session_with_bids(shop, 2)
    entries = log_of(shop, session)
    shop.drain(session)
    name = keys.bid_log(session.session_id)
    shop.services.redis.delete(name)
    for entry_id, fields in entries:
        shop.services.redis.xadd(name, fields, id=entry_id)
    assert shop.drain(session) == 0
    assert (sequences(shop), log_of(shop, session), events(shop)) == ([1, 2], [], [])


def test_a_connection_lost_during_a_drain_is_an_outage_and_loses_nothing(shop: Shop) -> None:
    session = session_with_bids(shop, 3)
    with pytest.raises(outages.DATABASE):
        bid_log(shop, LosesItsConnection).drain(session.session_id, seconds=30)
    assert shop.drain(session) == 3
    assert (sequences(shop), events(shop)) == ([1, 2, 3], [])


def test_a_copy_that_runs_out_of_time_is_an_outage_and_loses_nothing(shop: Shop) -> None:
    session = session_with_bids(shop, 3)
    with shop.services.engine.begin() as holder:
        holder.execute(text("LOCK TABLE bids IN EXCLUSIVE MODE"))
        with pytest.raises(outages.DATABASE):
            bid_log(shop, FindsTheTableLocked).drain(session.session_id, seconds=30)
    assert shop.drain(session) == 3
    assert (sequences(shop), events(shop)) == ([1, 2, 3], [])


# --- Gaps and nonsense ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "gaps"),
    [
        ({"1-0"}, [(1, 1)]),
        ({"3-0"}, [(3, 3)]),
        ({"2-0", "3-0"}, [(2, 3)]),
        ({"1-0", "4-0"}, [(1, 1), (4, 4)]),
    ],
)
def test_a_gap_is_recorded_with_its_numbers_and_does_not_block(
    shop: Shop, lost: set[str], gaps: list[tuple[int, int]]
) -> None:
    session = session_with_bids(shop, 5)
    rewrite_log(shop, session, lambda entry_id, fields: None if entry_id in lost else fields)
    assert shop.drain(session) == 5 - len(lost)
    assert events(shop) == [
        ("bid_log_gap", {"first_missing": first, "last_missing": last}) for first, last in gaps
    ]
    assert offset(shop) == 5


def test_a_gap_between_two_batches_is_recorded_once(shop: Shop) -> None:
    session = session_with_bids(shop, 5)
    rewrite_log(shop, session, lambda entry_id, fields: None if entry_id == "3-0" else fields)
    bid_log(shop, batch_size=2).drain(session.session_id, seconds=30)
    assert events(shop) == [("bid_log_gap", {"first_missing": 3, "last_missing": 3})]


@pytest.mark.parametrize(
    ("junk", "kept"),
    [(b"\x00junk", r"\x00junk"), (b"\xff\xfe", r"\xff\xfe")],
    ids=["NUL", "no text"],
)
def test_an_entry_that_postgresql_cannot_hold_is_set_aside_in_other_words(
    shop: Shop, junk: bytes, kept: str
) -> None:
    session = session_with_bids(shop, 2)
    rewrite_log(
        shop,
        session,
        lambda entry_id, fields: {**fields, "user_id": junk} if entry_id == "1-0" else fields,
    )
    assert shop.drain(session) == 1
    assert (sequences(shop), offset(shop), log_of(shop, session)) == ([2], 2, [])
    [(kind, details)] = events(shop)
    assert (kind, details["fields"]["user_id"]) == ("bid_log_entry_set_aside", kept)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"price": "free"},
        {"price": "1e12"},
        {"price": "NaN"},
        {"score": "nan"},
        {"user_id": "nobody"},
        {"accepted_at": "9" * 30},
        {"user_id": ""},
    ],
)
def test_an_entry_that_makes_no_sense_is_set_aside_and_does_not_block(
    shop: Shop, nonsense: Fields
) -> None:
    session = session_with_bids(shop, 3)
    rewrite_log(
        shop,
        session,
        lambda entry_id, fields: fields | nonsense if entry_id == "2-0" else fields,
    )
    assert shop.drain(session) == 2
    assert (sequences(shop), offset(shop), log_of(shop, session)) == ([1, 3], 3, [])
    [(kind, details)] = events(shop)
    assert (kind, details["id"]) == ("bid_log_entry_set_aside", "2-0")
    assert details["fields"].items() >= nonsense.items()


def test_an_entry_without_fields_of_a_bid_is_set_aside(shop: Shop) -> None:
    session = session_with_bids(shop, 1)
    rewrite_log(shop, session, lambda entry_id, fields: {"hello": "world"})
    assert shop.drain(session) == 0
    assert (offset(shop), log_of(shop, session)) == (1, [])
    [(kind, details)] = events(shop)
    assert (kind, details["fields"]) == ("bid_log_entry_set_aside", {"hello": "world"})


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
