"""Telling: every bidder once, wherever the telling before this one died."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.notifications import announcing
from core.notifications.announcing import Announcing
from core.postgres.models import Announcement
from core.sessions.sessions import SessionView
from tests.support.crashing import Killed
from tests.support.factories import Shop

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}
BIDDERS = 7
CHUNK = 3


def closed_session(shop: Shop, bidders: int = BIDDERS) -> SessionView:
    session = shop.session(inventory=2, **BY_PRICE)
    for number in range(bidders):
        shop.bid(shop.bidder(), session, str(120 + number))
    shop.close(session)
    return session


def in_chunks(shop: Shop) -> Announcing:
    return Announcing(shop.services.database, by_email=False, chunk_members=CHUNK)


def told(shop: Shop) -> list[tuple[Any, ...]]:
    """Rank of each notification, in no order."""
    return shop.rows("SELECT rank FROM notifications JOIN rankings USING (session_id, user_id)")


def everybody(bidders: int = BIDDERS) -> list[tuple[int]]:
    return [(rank,) for rank in range(1, bidders + 1)]


def test_every_bidder_is_told_once(shop: Shop) -> None:
    session = closed_session(shop)
    done = in_chunks(shop).announce(session.session_id, seconds=30)
    assert (done.members, done.unfinished) == (BIDDERS, False)
    assert sorted(told(shop)) == everybody()
    assert shop.services.announcing.unfinished() == []


def test_telling_again_tells_nobody(shop: Shop) -> None:
    session = closed_session(shop)
    assert shop.services.announcing.announce(session.session_id, seconds=30).members == BIDDERS
    assert shop.services.announcing.announce(session.session_id, seconds=30).members == 0
    assert sorted(told(shop)) == everybody()


def test_the_best_ranks_are_told_first(shop: Shop) -> None:
    session = closed_session(shop)
    done = in_chunks(shop).announce(session.session_id, seconds=0)
    assert (done.members, done.unfinished) == (CHUNK, True)
    assert sorted(told(shop)) == [(1,), (2,), (3,)]
    assert shop.services.announcing.unfinished() == [session.session_id]


@pytest.mark.parametrize("bidders", [0, CHUNK, 2 * CHUNK])
def test_a_session_of_whole_chunks_is_finished_too(shop: Shop, bidders: int) -> None:
    session = closed_session(shop, bidders)
    assert in_chunks(shop).announce(session.session_id, seconds=30).members == bidders
    assert shop.services.announcing.unfinished() == []


def test_a_session_that_is_not_closed_is_not_told(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    assert shop.services.announcing.unfinished() == []
    assert shop.services.announcing.announce(session.session_id, seconds=30).members == 0
    assert shop.services.announcing.announce(uuid4(), seconds=30).members == 0


def test_a_close_that_cannot_write_announces_nothing(shop: Shop) -> None:
    """The announcement is in the transaction of the results, or neither is."""
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    with shop.services.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO announcements (session_id) VALUES (:id)"), {"id": session.session_id}
        )
    with pytest.raises(IntegrityError):
        shop.close(session)
    assert shop.rows("SELECT count(*) FROM rankings") == [(0,)]
    assert shop.rows("SELECT status FROM sessions") == [("active",)]


# --- Killed anywhere -----------------------------------------------------------------


def die_in_chunk(shop: Shop, session: SessionView, number: int) -> None:
    """Tell up to the commit of this chunk, and die before it."""
    teller = in_chunks(shop)
    for _ in range(number - 1):
        teller._announce_next(session.session_id)
    event.listen(shop.services.database, "before_commit", die)
    try:
        with pytest.raises(Killed):
            teller._announce_next(session.session_id)
    finally:
        event.remove(shop.services.database, "before_commit", die)


def die(_: Session) -> None:
    raise Killed


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_a_telling_that_was_killed_is_continued_and_nobody_is_told_twice(
    shop: Shop, chunk: int
) -> None:
    session = closed_session(shop)
    die_in_chunk(shop, session, chunk)
    assert len(told(shop)) == (chunk - 1) * CHUNK
    in_chunks(shop).announce(session.session_id, seconds=30)
    assert sorted(told(shop)) == everybody()


def move_first_and_die(shop: Shop, session: SessionView) -> None:
    """Without the guard: the place moves in a transaction of its own."""
    with shop.services.database.begin() as db:
        db.execute(update(Announcement).values(told_through_rank=CHUNK))


def write_first_and_die(shop: Shop, session: SessionView) -> None:
    """Without the guard, the other way round."""
    with shop.services.database.begin() as db:
        db.execute(
            announcing._WRITE_NOTIFICATIONS,
            {
                "kind": "session_ended",
                "session_id": session.session_id,
                "after": 0,
                "through": CHUNK,
                "by_email": False,
            },
        )


def test_without_the_common_transaction_a_kill_leaves_winners_untold(shop: Shop) -> None:
    session = closed_session(shop)
    move_first_and_die(shop, session)
    in_chunks(shop).announce(session.session_id, seconds=30)
    assert sorted(told(shop)) == everybody()[CHUNK:]


def test_without_the_common_transaction_a_kill_would_tell_twice(shop: Shop) -> None:
    session = closed_session(shop)
    write_first_and_die(shop, session)
    with pytest.raises(IntegrityError, match="uq_notifications_session_id_user_id_kind"):
        in_chunks(shop).announce(session.session_id, seconds=30)


# --- What the schema itself refuses --------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (
            """INSERT INTO notifications (session_id, user_id, kind)
               SELECT session_id, user_id, kind FROM notifications""",
            "uq_notifications_session_id_user_id_kind",
        ),
        ("UPDATE notifications SET kind = 'gossip'", "ck_notifications_kind_known"),
        ("UPDATE announcements SET told_through_rank = -1", "ck_announcements_rank_not_negative"),
        ("INSERT INTO announcements SELECT * FROM announcements", "pk_announcements"),
    ],
)
def test_a_notification_that_makes_no_sense_cannot_be_stored(
    shop: Shop, statement: str, constraint: str
) -> None:
    shop.services.announcing.announce(closed_session(shop).session_id, seconds=30)
    with pytest.raises(IntegrityError) as refusal, shop.services.engine.begin() as connection:
        connection.execute(text(statement))
    assert refusal.value.orig.diag.constraint_name == constraint
