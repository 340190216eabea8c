"""A Redis that comes back older than PostgreSQL: a restored backup, a lagging replica."""

from typing import Any
from uuid import UUID

import pytest

from core.bidding.placing import Bidder
from core.bidlog.drain import BidLog, Drained
from core.bidlog.losses import SKIPPED_SEQUENCES
from core.redis import keys
from core.sessions.loading import SessionLoader
from core.sessions.sessions import SessionView
from tests.integration.bidlog.draining import CrashError, DiesBeforeTrim
from tests.support.factories import Shop


def bid_log(shop: Shop, kind: type[BidLog] = BidLog, batch_size: int = 5000) -> BidLog:
    return kind(shop.services.database, shop.services.redis, batch_size=batch_size)


def crash_before_trim(shop: Shop, session: SessionView) -> None:
    with pytest.raises(CrashError):
        bid_log(shop, DiesBeforeTrim).run_once(session.session_id)


def entry_ids(shop: Shop, session: SessionView) -> list[str]:
    return [entry_id for entry_id, _ in shop.services.redis.xrange(log_of(session))]


def log_of(session: SessionView) -> str:
    return keys.bid_log(session.session_id)


def places(shop: Shop) -> list[tuple[Any, ...]]:
    """Where each bid stands, and whose it is."""
    return shop.rows("SELECT sequence, user_id FROM bids ORDER BY sequence")


def moves(shop: Shop) -> list[dict[str, int]]:
    events = shop.rows(
        "SELECT details FROM session_events WHERE kind = 'redis_rewound' ORDER BY id"
    )
    return [details["moved"] for (details,) in events]


def differences(shop: Shop, session: SessionView) -> list[str]:
    checks = shop.services.audit.verify(session.session_id)
    return [line for check in checks for line in check.shown]


def rewind(shop: Shop, session: SessionView, sequence: int) -> None:
    """Redis forgets the bids above this sequence, which PostgreSQL has."""
    name = keys.session_params(session.session_id)
    shop.services.redis.hset(name, "sequence", sequence)
    shop.services.redis.delete(keys.bid_log(session.session_id), keys.ranking(session.session_id))
    for key in shop.services.redis.keys(keys.standing_bid_prefix(session.session_id) + "*"):
        shop.services.redis.delete(key)


def persisted_session(shop: Shop) -> SessionView:
    session = shop.session(alpha=1.0, beta=0.0, gamma=0.0, allow_lower_bids=True)
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


def rewound_session(shop: Shop, new_bids: int) -> tuple[SessionView, list[Bidder]]:
    """Three bids in `bids`, the last two forgotten by Redis, and new ones in the log from 2 on."""
    session = persisted_session(shop)
    rewind(shop, session, 1)
    late = [shop.bidder() for _ in range(new_bids)]
    answered = [shop.bid(bidder, session, "150").sequence for bidder in late]
    assert answered == list(range(2, 2 + new_bids))
    return session, late


def behind_the_old(late: list[Bidder], first: int = 4) -> list[tuple[int, UUID]]:
    return [(place, bidder.user_id) for place, bidder in enumerate(late, start=first)]


def test_a_rewind_is_noticed_when_the_new_bids_have_passed_the_old_ones(shop: Shop) -> None:
    session, late = rewound_session(shop, 5)
    shop.drain(session)
    assert places(shop)[3:] == behind_the_old(late)
    assert shop.bid(shop.bidder(), session, "110").sequence == 9 + SKIPPED_SEQUENCES


def test_of_one_member_s_bids_around_the_old_offset_the_later_stands(shop: Shop) -> None:
    """The first is told sequence 2, which is another's; the second 5, which is free."""
    session, member = persisted_session(shop), shop.bidder()
    rewind(shop, session, 1)
    told = [shop.bid(member, session, "200").sequence]
    told += [shop.bid(shop.bidder(), session, "150").sequence for _ in range(2)]
    told.append(shop.bid(member, session, "110").sequence)
    assert told == [2, 3, 4, 5]

    shop.drain(session)
    assert shop.rows(
        "SELECT sequence, price FROM bids WHERE user_id = :id ORDER BY sequence", id=member.user_id
    ) == [(4, 200), (7, 110)]
    assert shop.services.board.standing(session.session_id, member.user_id).price == 110
    page = shop.services.board.page(session.session_id, page=1, page_size=1)
    assert page.highest_bid == 150


@pytest.mark.parametrize("new_bids", [1, 5])
def test_a_bid_that_moved_is_not_stored_again_after_a_crash_before_the_trim(
    shop: Shop, new_bids: int
) -> None:
    session, late = rewound_session(shop, new_bids)
    crash_before_trim(shop, session)
    assert shop.drain(session) == 0
    assert places(shop)[3:] == behind_the_old(late)
    assert (entry_ids(shop, session), len(moves(shop))) == ([], 1)


def test_bids_that_came_after_a_crash_before_the_trim_are_stored_once(shop: Shop) -> None:
    session, late = rewound_session(shop, 2)
    crash_before_trim(shop, session)
    after = 5 + SKIPPED_SEQUENCES + 1
    late.append(shop.bidder())
    assert shop.bid(late[-1], session, "150").sequence == after
    assert (len(entry_ids(shop, session)), shop.drain(session)) == (1, 1)
    assert places(shop)[3:] == [*behind_the_old(late[:2]), (after, late[2].user_id)]
    assert differences(shop, session) == []


def test_a_second_rewind_to_the_same_copy_stores_no_bid_again(shop: Shop) -> None:
    """The copy's log has bids that the first rewind moved; one more comes in behind them."""
    session, late = rewound_session(shop, 2)
    redis, params = shop.services.redis, keys.session_params(session.session_id)
    terms, entries = redis.hgetall(params), redis.xrange(log_of(session))
    shop.drain(session)
    rewind(shop, session, 3)
    redis.hset(params, mapping=terms)
    for entry_id, fields in entries:
        redis.xadd(log_of(session), fields, id=entry_id)
    late.append(shop.bidder())
    assert shop.bid(late[-1], session, "150").sequence == 4

    shop.drain(session)
    assert places(shop)[3:] == behind_the_old(late)
    assert moves(shop) == [{"2-0": 4, "3-0": 5}, {"4-0": 6}]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5])
def test_a_rewind_larger_than_a_batch_keeps_every_bid_once_and_in_order(
    shop: Shop, batch_size: int
) -> None:
    session, late = rewound_session(shop, 5)
    log = bid_log(shop, batch_size=batch_size)
    assert log.drain(session.session_id, seconds=30) == Drained(5)
    assert places(shop)[3:] == behind_the_old(late)
    moved = {entry_id: place for some in moves(shop) for entry_id, place in some.items()}
    assert moved == {f"{told}-0": told + 2 for told in range(2, 7)}
    assert [kind for (kind,) in shop.rows("SELECT DISTINCT kind FROM session_events")] == [
        "redis_rewound"
    ]


@pytest.mark.parametrize("batches", [1, 2])
def test_a_rewind_larger_than_a_batch_goes_on_after_a_crash_before_the_trim(
    shop: Shop, batches: int
) -> None:
    session, late = rewound_session(shop, 5)
    for _ in range(batches - 1):
        bid_log(shop, batch_size=2).run_once(session.session_id)
    with pytest.raises(CrashError):
        bid_log(shop, DiesBeforeTrim, batch_size=2).run_once(session.session_id)
    bid_log(shop, batch_size=2).drain(session.session_id, seconds=30)
    assert places(shop)[3:] == behind_the_old(late)


def test_a_close_waits_for_the_whole_of_a_rewind_larger_than_a_batch(shop: Shop) -> None:
    """The offset has passed what Redis had given out when one bid is moved."""
    session, late = rewound_session(shop, 5)
    bid_log(shop, batch_size=1).persist_through(session.session_id, 4, seconds=30)
    assert places(shop)[3:] == behind_the_old(late)


def test_no_bid_is_taken_from_when_a_rewind_is_noticed_until_the_session_is_loaded(
    shop: Shop,
) -> None:
    session, _ = rewound_session(shop, 2)
    bid_log(shop, batch_size=1).run_once(session.session_id)
    assert not shop.services.redis.exists(keys.session_params(session.session_id))


def test_nonsense_that_was_set_aside_and_not_trimmed_is_no_rewind(shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.xadd(log_of(session), {"hello": "world"}, id="1-0")
    crash_before_trim(shop, session)
    assert shop.drain(session) == 0
    assert [kind for (kind,) in shop.rows("SELECT kind FROM session_events")] == [
        "bid_log_entry_set_aside"
    ]


def test_nonsense_in_a_rewound_log_is_set_aside_with_the_place_that_it_takes(shop: Shop) -> None:
    session, late = rewound_session(shop, 2)
    shop.services.redis.xadd(log_of(session), {"hello": "world"}, id="4-0")
    shop.drain(session)
    assert places(shop)[3:] == behind_the_old(late)
    [(details,)] = shop.rows(
        "SELECT details FROM session_events WHERE kind = 'bid_log_entry_set_aside'"
    )
    assert (details["id"], details["sequence"]) == ("4-0", 6)
    shop.services.loader.load(session.session_id)
    assert differences(shop, session) == []


@pytest.mark.parametrize(
    ("lost", "gap", "stored"),
    [
        # All of the lost places are others' by now.
        ("3-0", {"first_missing": 3, "last_missing": 3, "taken_through": 4}, [4, 5, 6, 7]),
        # In front of the oldest entry it is not known what was handled.
        ("2-0", None, [4, 5, 6, 7]),
    ],
)
def test_a_gap_in_a_rewound_log_is_told_by_the_sequences_that_members_know(
    shop: Shop, lost: str, gap: dict[str, int] | None, stored: list[int]
) -> None:
    session, _ = rewound_session(shop, 5)
    shop.services.redis.xdel(log_of(session), lost)
    shop.drain(session)
    assert [place for place, _ in places(shop)[3:]] == stored
    gaps = shop.rows("SELECT details FROM session_events WHERE kind = 'bid_log_gap'")
    assert gaps == ([(gap,)] if gap else [])
    shop.services.loader.load(session.session_id)
    assert differences(shop, session) == []


def test_a_gap_that_reaches_beyond_the_moved_bids_is_missing_there(shop: Shop) -> None:
    """The ids after it are ahead of the offset: they are kept, and need no moving."""
    session, _ = rewound_session(shop, 6)
    shop.services.redis.xdel(log_of(session), "3-0", "4-0", "5-0", "6-0")
    shop.drain(session)
    assert [place for place, _ in places(shop)] == [1, 2, 3, 4, 7]
    assert moves(shop) == [{"2-0": 4}]
    [(gap,)] = shop.rows("SELECT details FROM session_events WHERE kind = 'bid_log_gap'")
    assert gap == {"first_missing": 3, "last_missing": 6, "taken_through": 4}
    shop.services.loader.load(session.session_id)
    assert differences(shop, session) == []


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


def test_verify_tells_of_bids_that_were_given_old_sequences_until_they_are_moved(
    shop: Shop,
) -> None:
    session, _ = rewound_session(shop, 1)
    assert "entry 2-0 is not in bids, and the offset is 3" in differences(shop, session)
    crash_before_trim(shop, session)
    assert entry_ids(shop, session) == ["2-0"]
    assert differences(shop, session) == []


class OneBatch(BidLog):
    """Leaves after a batch: another drain has the lock from there on."""

    def drain(self, session_id: UUID, *, seconds: float) -> Drained:
        batch = self.run_once(session_id)
        return Drained(batch.rows if batch else 0)


def test_a_session_is_not_loaded_before_all_of_a_rewind_is_stored(shop: Shop) -> None:
    session, late = rewound_session(shop, 5)
    log = OneBatch(shop.services.database, shop.services.redis, batch_size=1)
    log.run_once(session.session_id)
    SessionLoader(shop.services.database, shop.services.redis, log).load(session.session_id)
    assert shop.services.redis.xlen(keys.bid_log(session.session_id)) == 0
    assert places(shop)[3:] == behind_the_old(late)
    assert shop.services.board.page(session.session_id, page=1, page_size=20).total_count == 8
    assert shop.rows("SELECT count(*) FROM session_events WHERE kind='redis_lost'") == [(1,)]
