"""The drain: every bid once, whatever dies between which two steps."""

from uuid import UUID

import pytest
from sqlalchemy import text

from core import outages
from core.bidlog.drain import Batch, Drained
from core.redis import clock, keys
from tests.integration.bidlog.draining import (
    CrashError,
    DiesBeforeCommit,
    DiesBeforeTrim,
    Fields,
    FindsTheTableLocked,
    LosesItsConnection,
    bid_log,
    events,
    log_of,
    offset,
    rewrite_log,
    sequences,
    session_with_bids,
)
from tests.support.factories import Shop

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
