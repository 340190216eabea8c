"""Members who were winning hear that they no longer are."""

from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import event

from core.notifications import outbid
from core.redis import clock, keys
from tests.integration.news.outbidding import (
    BY_PRICE,
    a_minute_passes,
    change,
    kinds,
    look,
    looking,
    notices,
    watched,
)
from tests.integration.orders.test_sweeping import killed_before
from tests.support.crashing import Killed
from tests.support.factories import Shop


def test_who_was_winning_and_no_longer_is_is_told(shop: Shop) -> None:
    session, [ada, late] = watched(shop, 150, 120)
    bob = shop.bidder()
    shop.bid(bob, session, "160")
    assert look(shop) == 1
    [notice] = notices(shop, ada)
    assert (notice.kind, notice.session_id) == ("outbid", session.session_id)
    assert notice.message == "You were outbid in Item: your bid no longer wins."
    assert (notice.rank, notice.price, notice.is_winner) == (None, None, False)
    assert notices(shop, late) == notices(shop, bob) == []


def test_nobody_is_told_twice_of_the_same(shop: Shop) -> None:
    session, [ada] = watched(shop, 150)
    for price in (160, 170):
        shop.bid(shop.bidder(), session, str(price))
        look(shop)
        a_minute_passes(shop)
    assert kinds(shop, ada) == ["outbid"]
    [(age,)] = shop.rows("SELECT now() - min(created_at) FROM notifications")
    assert age > timedelta(minutes=2)


def test_the_first_look_at_a_session_tells_nobody(shop: Shop) -> None:
    session = shop.session(inventory=1, **BY_PRICE)
    for price in (150, 160):
        shop.bid(shop.bidder(), session, str(price))
    assert look(shop) == 0


def test_everybody_was_winning_while_there_were_more_items_than_bidders(shop: Shop) -> None:
    session, [ada, bob] = watched(shop, 150, 140, inventory=3)
    for price in (160, 170, 130):
        shop.bid(shop.bidder(), session, str(price))
    assert look(shop) == 1
    assert (kinds(shop, ada), kinds(shop, bob)) == ([], ["outbid"])


def test_who_has_an_equal_score_but_a_later_bid_is_outbid_first(shop: Shop) -> None:
    session, [first, second, _] = watched(shop, 150, 150, 110, inventory=2)
    shop.bid(shop.bidder(), session, "160")
    assert look(shop) == 1
    assert (kinds(shop, first), kinds(shop, second)) == ([], ["outbid"])


def test_who_bids_again_meanwhile_knows_and_is_not_told(shop: Shop) -> None:
    session, [ada] = watched(shop, 150)
    shop.bid(shop.bidder(), session, "160")
    shop.bid(ada, session, "155")
    assert look(shop) == 0


def test_a_member_is_told_once_a_minute_and_it_is_new_again(shop: Shop) -> None:
    session, [ada] = watched(shop, 150)
    bob = shop.bidder()
    shop.bid(bob, session, "160")
    assert look(shop) == 1
    shop.services.notifications.mark_all_read(ada.user_id)
    [told] = notices(shop, ada)

    shop.bid(ada, session, "170")
    assert look(shop) == 1, "bob was outbid, too"
    shop.bid(bob, session, "180")
    assert look(shop) == 0
    assert notices(shop, ada) == [told]

    shop.bid(ada, session, "190")
    look(shop)
    a_minute_passes(shop)
    shop.bid(bob, session, "200")
    assert look(shop) == 1
    [again] = notices(shop, ada)
    assert again.notification_id == told.notification_id
    assert again.read_at is None
    assert again.created_at > told.created_at


def test_all_that_are_displaced_are_told_in_chunks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbid, "_CHUNK_PLACES", 2)
    session, bidders = watched(shop, *range(150, 145, -1), inventory=5)
    for price in range(200, 205):
        shop.bid(shop.bidder(), session, str(price))
    assert look(shop) == 5
    assert all(kinds(shop, bidder) == ["outbid"] for bidder in bidders)


def test_a_look_reads_so_many_places_at_most(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbid, "_CHUNK_PLACES", 2)
    monkeypatch.setattr(outbid, "MAX_PLACES", 4)
    session, bidders = watched(shop, *range(150, 145, -1), inventory=5)
    for price in range(200, 205):
        shop.bid(shop.bidder(), session, str(price))
    assert look(shop) == 4
    assert kinds(shop, bidders[-1]) == []
    shop.bid(shop.bidder(), session, "206")
    assert look(shop) == 1, "the mark has moved on"


def test_a_look_changes_nothing_in_redis(shop: Shop) -> None:
    session, _ = watched(shop, 150)
    shop.bid(shop.bidder(), session, "160")
    before = shop.redis_state()
    assert look(shop) == 1
    assert shop.redis_state() == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET disabled_at = now() WHERE id = :id",
        "UPDATE users SET erased_at = now() WHERE id = :id",
        "DELETE FROM users WHERE id = :id",
    ],
)
def test_a_member_who_is_gone_is_not_told(shop: Shop, statement: str) -> None:
    session, [ada] = watched(shop, 150)
    change(shop, statement, id=ada.user_id)
    shop.bid(shop.bidder(), session, "160")
    assert look(shop) == 0


def test_the_last_seconds_are_left_to_the_close(shop: Shop) -> None:
    session, _ = watched(shop, 150)
    shop.bid(shop.bidder(), session, "160")
    shop.move_end(session, clock.now(shop.services.redis) + outbid._BEFORE_END)
    assert look(shop) == 0


@pytest.mark.parametrize("how", ["ended", "closed", "cancelled"])
def test_marks_of_sessions_that_are_over_are_forgotten(shop: Shop, how: str) -> None:
    session, _ = watched(shop, 150)
    if how == "cancelled":
        shop.services.session_edits.cancel(session.session_id, "Broken.")
    else:
        (shop.close if how == "closed" else shop.end)(session)
    assert look(shop) == 0
    assert shop.rows("SELECT * FROM winners_marks") == []


def test_a_session_that_redis_has_lost_tells_nobody(shop: Shop) -> None:
    session, _ = watched(shop, 150)
    shop.services.redis.delete(
        keys.session_params(session.session_id), keys.ranking(session.session_id)
    )
    assert look(shop) == 0


def test_killed_at_any_statement_it_tells_nobody_or_everybody_once(shop: Shop) -> None:
    session, [ada] = watched(shop, 150)
    shop.bid(shop.bidder(), session, "160")
    for number in count(1):
        try:
            with killed_before(shop, number):
                told = looking(shop).look_at(session.session_id, 1)
            break
        except Killed:
            assert notices(shop, ada) == []
    assert number > 4, "it died at each statement"
    assert told == 1
    assert look(shop) == 0
    assert kinds(shop, ada) == ["outbid"]


def test_killed_at_the_commit_it_tells_at_the_next_look_and_once(shop: Shop) -> None:
    session, [ada] = watched(shop, 150)
    shop.bid(shop.bidder(), session, "160")

    def die(*_: object) -> None:
        raise Killed

    event.listen(shop.services.database, "before_commit", die)
    try:
        with pytest.raises(Killed):
            looking(shop).look_at(session.session_id, 1)
    finally:
        event.remove(shop.services.database, "before_commit", die)
    assert notices(shop, ada) == []
    assert (look(shop), look(shop)) == (1, 0)


def test_a_look_whose_time_is_over_leaves_the_rest_to_the_next(shop: Shop) -> None:
    session, _ = watched(shop, 150)
    shop.bid(shop.bidder(), session, "160")
    assert looking(shop).look(seconds=-1) == 0
    assert look(shop) == 1
