"""When a session is closed: when due, when an admin ends it, and never by the schema twice."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from core import errors
from core.redis import clock, keys
from core.rules.lifecycle import Status
from core.sessions.sessions import SessionView
from tests.integration.sessions.closed import results, session_with_bids, stored
from tests.support.factories import Shop

# --- Due -----------------------------------------------------------------------------


def test_a_session_is_due_from_its_end_until_it_is_published(shop: Shop) -> None:
    session, closing = session_with_bids(shop, "120"), shop.services.closing
    assert closing.due() == []
    shop.end(session)
    assert closing.due() == [session.session_id]
    closing._shut_gate(session.session_id)
    closing._bid_log.persist_through(session.session_id, 1, seconds=30)
    closing._write_results(session.session_id, 1)
    assert closing.due() == [session.session_id]
    closing._publish(session.session_id)
    assert closing.due() == []


def test_the_session_that_ended_first_is_closed_first(shop: Shop) -> None:
    later, earlier = shop.session(), shop.session()
    shop.end(earlier)
    shop.end(later)
    assert shop.services.closing.due() == [earlier.session_id, later.session_id]


def test_a_close_is_claimed_once_and_the_claim_lapses(shop: Shop) -> None:
    session, closing = shop.session(), shop.services.closing
    assert [closing.claim(session.session_id) for _ in range(3)] == [True, False, False]
    assert 0 < shop.services.redis.ttl(keys.close_claim(session.session_id)) <= 5


# --- Ended early ---------------------------------------------------------------------


def scheduled(shop: Shop) -> SessionView:
    now = clock.now(shop.services.redis)
    return shop.session(start_time=now.replace(year=now.year + 1))


def inactive(shop: Shop) -> SessionView:
    session = session_with_bids(shop, "120", "130")
    shop.services.sessions.deactivate(session.session_id)
    return session


def active(shop: Shop) -> SessionView:
    return session_with_bids(shop, "120", "130")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("make", "bidders"), [(active, 2), (inactive, 2), (scheduled, 0)])
def test_a_session_can_be_ended_early(shop: Shop, make: Any, bidders: int, known: bool) -> None:
    session = make(shop)
    if not known:
        shop.drain(session)
        shop.services.redis.flushdb()
    ended = shop.services.sessions.end_now(session.session_id)
    assert ended.status is Status.ENDED
    assert ended.start_time <= ended.end_time <= clock.now(shop.services.redis)
    assert shop.services.closing.due() == [session.session_id]
    with pytest.raises(errors.SessionEnded):
        shop.bid(shop.bidder(), session, "140")
    assert shop.services.closing.close(session.session_id)
    assert results(shop, session).total_bidders == bidders


def test_ending_early_twice_keeps_the_first_end(shop: Shop) -> None:
    session = active(shop)
    first = shop.services.sessions.end_now(session.session_id)
    assert shop.services.sessions.end_now(session.session_id).end_time == first.end_time
    shop.services.closing.close(session.session_id)
    assert shop.services.sessions.end_now(session.session_id).end_time == first.end_time


def test_ending_after_the_time_is_over_keeps_the_end(shop: Shop) -> None:
    session = active(shop)
    shop.end(session)
    over_at = stored(shop, "end_time")
    assert shop.services.sessions.end_now(session.session_id).end_time == over_at


def test_a_session_that_nobody_made_cannot_be_ended(shop: Shop) -> None:
    with pytest.raises(errors.SessionNotFound):
        shop.services.sessions.end_now(uuid4())


# --- What the schema itself refuses --------------------------------------------------


def refused(shop: Shop, statement: str, **values: Any) -> str:
    """The constraint by which PostgreSQL refuses a statement."""
    with pytest.raises(IntegrityError) as refusal, shop.services.engine.begin() as connection:
        connection.execute(text(statement), values)
    return refusal.value.orig.diag.constraint_name


@pytest.mark.parametrize(
    ("rank", "constraint"),
    [
        (1, "uq_rankings_session_id_rank"),
        (2, "uq_rankings_session_id_rank"),
        (0, "ck_rankings_rank_positive"),
        (-1, "ck_rankings_rank_positive"),
    ],
)
def test_there_cannot_be_more_winners_than_items(shop: Shop, rank: int, constraint: str) -> None:
    session = session_with_bids(shop, "120", "130", "140", inventory=2)
    shop.close(session)
    statement = "INSERT INTO rankings VALUES (:session, :user, :rank, 9, 999, 999)"
    values = {"session": session.session_id, "user": uuid4(), "rank": rank}
    assert refused(shop, statement, **values) == constraint
    assert len(results(shop, session).winners) == 2


def test_a_member_cannot_be_ranked_twice(shop: Shop) -> None:
    session = session_with_bids(shop, "120")
    shop.close(session)
    statement = (
        "INSERT INTO rankings SELECT session_id, user_id, 2, sequence, price, score FROM rankings"
    )
    assert refused(shop, statement) == "pk_rankings"


def test_a_sequence_cannot_be_stored_twice(shop: Shop) -> None:
    session = session_with_bids(shop, "120")
    shop.drain(session)
    assert refused(shop, "INSERT INTO bids SELECT * FROM bids") == "pk_bids"


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("status = 'ended'", "ck_sessions_ended_is_closed"),
        ("closed_at = now()", "ck_sessions_ended_is_closed"),
        ("status = 'open'", "ck_sessions_status_known"),
        ("inventory = 0", "ck_sessions_inventory_positive"),
        ("upset_price = 0", "ck_sessions_upset_price_positive"),
        ("end_time = start_time - interval '1 s'", "ck_sessions_window"),
        ("beta = 'Infinity'", "ck_sessions_coefficients_finite"),
        ("alpha = 'NaN'", "ck_sessions_coefficients_finite"),
        ("gamma = -1", "ck_sessions_coefficients_finite"),
    ],
)
def test_a_session_that_makes_no_sense_cannot_be_stored(
    shop: Shop, change: str, constraint: str
) -> None:
    shop.session()
    assert refused(shop, f"UPDATE sessions SET {change}") == constraint  # noqa: S608 - our own
