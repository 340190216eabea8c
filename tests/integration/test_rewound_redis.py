"""A Redis that comes back older than PostgreSQL: a restored backup, a lagging replica."""

import pytest

from core import keys
from core.losses import SKIPPED_SEQUENCES
from core.sessions import SessionView
from tests.factories import Shop


def rewind(shop: Shop, session: SessionView, sequence: int) -> None:
    """Redis forgets the bids above this sequence, which PostgreSQL has."""
    name = keys.session_params(session.session_id)
    shop.services.redis.hset(name, "sequence", sequence)
    shop.services.redis.delete(keys.bid_log(session.session_id), keys.ranking(session.session_id))
    for key in shop.services.redis.keys(keys.standing_bid_prefix(session.session_id) + "*"):
        shop.services.redis.delete(key)


def persisted_session(shop: Shop) -> SessionView:
    session = shop.session(alpha=1.0, beta=0.0, gamma=0.0)
    for price in ("120", "130", "140"):
        shop.bid(shop.bidder(), session, price)
    shop.drain(session)
    return session


@pytest.mark.parametrize("sequence", [0, 1, 2])
def test_a_bid_that_was_given_an_old_place_is_kept_at_a_new_one(shop: Shop, sequence: int) -> None:
    session = persisted_session(shop)
    rewind(shop, session, sequence)
    late = shop.bidder()
    assert shop.bid(late, session, "150").sequence == sequence + 1

    shop.drain(session)
    rows = shop.rows("SELECT sequence, user_id, price FROM bids ORDER BY sequence")
    assert [row[0] for row in rows] == [1, 2, 3, 4]
    assert (rows[3][1], rows[3][2]) == (late.user_id, 150)


def test_a_rewind_is_noticed_when_the_new_bids_have_passed_the_old_ones(shop: Shop) -> None:
    session = persisted_session(shop)
    rewind(shop, session, 1)
    late = [shop.bidder() for _ in range(5)]
    answered = [shop.bid(bidder, session, "150").sequence for bidder in late]
    assert answered == [2, 3, 4, 5, 6]

    shop.drain(session)
    rows = shop.rows("SELECT sequence, user_id FROM bids WHERE sequence > 3 ORDER BY sequence")
    by_place = [late[2], late[3], late[4], late[0], late[1]]
    assert rows == [(4 + n, bidder.user_id) for n, bidder in enumerate(by_place)]
    assert shop.bid(shop.bidder(), session, "110").sequence == 9 + SKIPPED_SEQUENCES


def test_a_rewind_is_told_loudly_with_the_places_that_moved(shop: Shop) -> None:
    session = persisted_session(shop)
    rewind(shop, session, 1)
    shop.bid(shop.bidder(), session, "150")
    shop.drain(session)
    assert shop.rows("SELECT kind, details FROM session_events") == [
        (
            "redis_rewound",
            {"persisted_sequence": 3, "moved": {"2-0": 4}},
        )
    ]


def test_after_a_rewind_the_board_and_the_sequence_are_right_again(shop: Shop) -> None:
    session = persisted_session(shop)
    rewind(shop, session, 1)
    shop.bid(shop.bidder(), session, "150")
    shop.drain(session)

    assert shop.bid(shop.bidder(), session, "110").sequence == 5 + SKIPPED_SEQUENCES
    board = shop.services.board.page(session.session_id, page=1, page_size=10)
    assert [entry.price for entry in board.leaderboard] == [150, 140, 130, 120, 110]
    assert shop.drain(session) == 1


def test_entries_that_postgresql_has_are_not_stored_again_after_a_rewind(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    shop.bid(shop.bidder(), session, "130")
    entries = shop.services.redis.xrange(keys.bid_log(session.session_id))
    shop.drain(session)
    rewind(shop, session, 1)
    shop.services.redis.xadd(keys.bid_log(session.session_id), entries[0][1], id=entries[0][0])

    shop.drain(session)
    assert shop.rows("SELECT sequence FROM bids ORDER BY sequence") == [(1,), (2,)]


def test_a_remnant_of_a_standing_bid_is_no_standing_bid(shop: Shop) -> None:
    session = shop.session()
    bidder = shop.bidder()
    shop.bid(bidder, session, "120")
    session_id = session.session_id
    shop.services.redis.delete(
        keys.session_params(session_id), keys.ranking(session_id), keys.bid_log(session_id)
    )
    placed = shop.bid(bidder, session, "120")
    assert (placed.replayed, placed.sequence, placed.rank) == (False, 1 + SKIPPED_SEQUENCES, 1)
