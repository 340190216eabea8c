"""The sweep of offers: batches, bad rows, locked sessions, and kills at every step."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from math import inf
from typing import Any

import pytest
from sqlalchemy import event, select

from core.orders.offers import Offers
from core.orders.places import OfferState, end_offers
from core.postgres.models import Offer
from core.sessions.sessions import SessionView
from tests.integration.orders.offering import change, expire, offer_of, offers, sold, sweep
from tests.support.crashing import Killed
from tests.support.factories import Shop

BATCH = 2
# Refuses to end the offer of rank 2, as a damaged row would.
BREAK_RANK_2 = """
    CREATE FUNCTION break_it() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a bad row' USING ERRCODE = 'data_exception'; END $$;
    CREATE TRIGGER break_it BEFORE UPDATE ON offers FOR EACH ROW
    WHEN (OLD.rank = 2 AND NEW.state = 'expired') EXECUTE FUNCTION break_it()
"""


def in_batches(shop: Shop, batch: int = BATCH) -> Offers:
    services = shop.services
    announcing = services.announcing
    return Offers(
        services.database,
        announcing.tell_successors,
        announcing.tell_offers_ended,
        batch_offers=batch,
    )


def overdue_session(shop: Shop, bidders: int = 10, inventory: int = 5) -> SessionView:
    session = sold(shop, bidders, inventory=inventory)
    expire(shop)
    return session


def other_session(shop: Shop) -> None:
    """A closed session with one offer."""
    session = shop.session(inventory=1)
    shop.bid(shop.bidder(), session, "500")
    shop.close(session)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_all_that_has_expired_is_replaced_in_batches(shop: Shop, batch: int) -> None:
    overdue_session(shop)
    assert in_batches(shop, batch).sweep(seconds=inf).expired == 5
    assert offers(shop) == [(rank, rank, "expired") for rank in range(1, 6)] + [
        (rank, rank - 5, "open") for rank in range(6, 11)
    ]


def test_a_sweep_whose_time_is_over_leaves_the_rest_to_the_next(shop: Shop) -> None:
    overdue_session(shop)
    swept = in_batches(shop).sweep(seconds=0)
    assert (swept.expired, swept.unfinished) == (BATCH, True)
    assert sweep(shop) == 5 - BATCH


@pytest.fixture
def broken_row(shop: Shop) -> Iterator[None]:
    change(shop, BREAK_RANK_2)
    yield
    change(shop, "DROP FUNCTION break_it() CASCADE")


@pytest.mark.usefixtures("broken_row")
def test_one_bad_row_holds_up_no_other(shop: Shop) -> None:
    overdue_session(shop, inventory=4)
    assert sweep(shop) == 3
    assert [state for _, _, state in offers(shop)] == [
        *("expired", "open", "expired", "expired"),
        *["open"] * 3,
    ]


@pytest.mark.usefixtures("broken_row")
def test_one_bad_session_holds_up_no_other(shop: Shop) -> None:
    sold(shop, 2, inventory=2)
    other_session(shop)
    expire(shop, "rank = 2")
    expire(shop)
    assert sweep(shop) == 2


def test_a_session_that_stays_locked_holds_up_no_other(shop: Shop) -> None:
    locked = sold(shop, 2, inventory=1)
    other_session(shop)
    expire(shop)
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql(
            "SELECT FROM sessions WHERE id = %s FOR UPDATE", (str(locked.session_id),)
        )
        assert sweep(shop) == 1
    assert sweep(shop) == 1


# --- Killed anywhere -----------------------------------------------------------------


@contextmanager
def killed_before(shop: Shop, number: int) -> Iterator[None]:
    """The process dies before it sends this statement, counted from 1, or a later one."""
    sent = count(1)

    def die(*_: Any) -> None:
        if next(sent) >= number:
            raise Killed

    event.listen(shop.services.engine, "before_cursor_execute", die)
    try:
        yield
    finally:
        event.remove(shop.services.engine, "before_cursor_execute", die)


def test_a_sweep_killed_at_any_statement_loses_no_place_and_sells_none_twice(shop: Shop) -> None:
    overdue_session(shop, bidders=8, inventory=4)
    for number in count(1):
        try:
            with killed_before(shop, number):
                in_batches(shop).sweep(seconds=inf)
            break
        except Killed:
            taken = [place for _, place, state in offers(shop) if state == "open"]
            assert sorted(taken) == [1, 2, 3, 4]
    # It had to die in the first batch and in the second.
    assert number > 10
    assert [state for _, _, state in offers(shop)] == ["expired"] * 4 + ["open"] * 4
    told = "SELECT count(*), count(DISTINCT data) FROM shop_events WHERE event LIKE 'offer.%'"
    assert shop.rows(told) == [(12, 12)]
    kinds = "SELECT kind, count(*) FROM notifications GROUP BY kind ORDER BY kind"
    assert shop.rows(kinds) == [("offer_ended", 4), ("offer_opened", 4)]


def test_without_one_transaction_a_kill_loses_a_place(shop: Shop) -> None:
    """The control: the offer ends in one transaction, and its place was to go on in the next."""
    session = overdue_session(shop, bidders=2, inventory=1)
    with shop.services.database.begin() as db:
        [(expired, now)] = db.execute(select(Offer.id, Offer.expires_at))
        end_offers(db, session.session_id, [expired], OfferState.EXPIRED, now=now)
    assert sweep(shop) == 0
    assert offers(shop) == [(1, 1, "expired")]


@pytest.mark.parametrize("state", [OfferState.PAID, OfferState.DECLINED])
def test_settling_killed_at_any_statement_is_done_whole_or_not_at_all(
    shop: Shop, state: OfferState
) -> None:
    session, offer_id = sold(shop, 2, inventory=1), None
    offer_id = offer_of(shop, 1)
    for number in count(1):
        try:
            with killed_before(shop, number):
                shop.services.offers.settle(session.session_id, offer_id, state)
            break
        except Killed:
            assert offers(shop) == [(1, 1, "open")]
    assert number > 4
    assert len(offers(shop)) == (1 if state is OfferState.PAID else 2)
