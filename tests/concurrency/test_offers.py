"""Payments, declines, sweeps and edits of the stock at one instant."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from core import errors
from core.orders.listing import OfferView
from core.orders.places import OfferState
from tests.integration.orders.offering import (
    change,
    events,
    expire,
    offer_of,
    offers,
    sold,
    sweep,
)
from tests.support.factories import Shop
from tests.support.racing import BARRIER_SECONDS, of, together, wait_for_blocked

THREADS = 6
TAKEN = "SELECT count(*) FROM offers WHERE state IN ('open', 'paid')"


def test_sweeps_at_one_instant_replace_each_place_once(shop: Shop) -> None:
    sold(shop, 16, inventory=8)
    expire(shop)
    shared = together(*[lambda: sweep(shop)] * THREADS)
    assert sum(shared) == 8
    assert offers(shop)[8:] == [(rank, rank - 8, "open") for rank in range(9, 17)]


def test_declines_at_one_instant_hand_on_each_place_once(shop: Shop) -> None:
    session = sold(shop, 2 * THREADS, inventory=THREADS)
    ids = [offer_of(shop, rank) for rank in range(1, THREADS + 1)]
    settle = shop.services.offers.settle
    outcomes = together(
        *[lambda own=own: settle(session.session_id, own, OfferState.DECLINED) for own in ids]
    )
    assert len(of(OfferView, outcomes)) == THREADS
    assert sorted(place for _, place, state in offers(shop) if state == "open") == list(
        range(1, THREADS + 1)
    )


def test_of_payments_at_one_instant_one_counts_and_all_are_answered_alike(shop: Shop) -> None:
    session, offer_id = sold(shop, 2, inventory=1), offer_of(shop, 1)
    settle = shop.services.offers.settle
    views = together(*[lambda: settle(session.session_id, offer_id, OfferState.PAID)] * THREADS)
    assert {view.version for view in of(OfferView, views)} == {2}
    assert len(of(OfferView, views)) == THREADS
    assert [event for event, _, _ in events(shop)] == ["offer.opened", "offer.paid"]


def test_a_payment_a_decline_and_a_withdrawal_at_one_instant_have_one_outcome(shop: Shop) -> None:
    session, offer_id = sold(shop, 2, inventory=1), offer_of(shop, 1)
    settle = shop.services.offers.settle
    states = (OfferState.PAID, OfferState.DECLINED, OfferState.WITHDRAWN)
    outcomes = together(
        *[lambda own=own: settle(session.session_id, offer_id, own) for own in states]
    )
    [won] = of(OfferView, outcomes)
    assert len(of(errors.OfferSettled, outcomes)) == 2
    assert offers(shop)[0] == (1, 1, won.state.value)
    assert shop.rows(TAKEN) == [(1,)]


def test_a_payment_that_waits_past_the_deadline_is_refused(shop: Shop) -> None:
    session, offer_id = sold(shop, 2, inventory=1), offer_of(shop, 1)
    with ThreadPoolExecutor(1) as thread:
        with shop.services.engine.begin() as holder:
            holder.exec_driver_sql("SELECT FROM sessions FOR UPDATE")
            payment = thread.submit(
                shop.services.offers.settle, session.session_id, offer_id, OfferState.PAID
            )
            wait_for_blocked(shop)
            holder.exec_driver_sql("UPDATE offers SET expires_at = clock_timestamp()")
        with pytest.raises(errors.OfferExpired):
            payment.result(BARRIER_SECONDS)
    assert offers(shop) == [(1, 1, "expired"), (2, 1, "open")]


# --- The stock, by places and by counting ---------------------------------------------


def offer(connection: Connection, session_id: UUID, place: int) -> None:
    connection.execute(
        text(
            "INSERT INTO offers (id, session_id, user_id, rank, place, expires_at) VALUES"
            " (:id, :session_id, :id, :rank, :place, now() + interval '1 day')"
        ),
        {
            "id": uuid4(),
            "session_id": session_id,
            "rank": uuid4().int % 10**9,
            "place": place,
        },
    )


def offer_unlocked(shop: Shop, session_id: UUID, barrier: Barrier, place: int) -> bool:
    """Count what is taken, wait until the other has counted, offer what seems to be free."""
    with shop.services.engine.begin() as connection:
        [(taken,)] = connection.execute(text(TAKEN))
        barrier.wait(BARRIER_SECONDS)
        if taken < 1:
            offer(connection, session_id, place)
    return True


def test_without_the_lock_the_places_hold_the_stock(shop: Shop) -> None:
    session, barrier = shop.session(inventory=1), Barrier(2)
    outcomes = together(*[lambda: offer_unlocked(shop, session.session_id, barrier, 1)] * 2)
    assert (of(bool, outcomes), len(of(IntegrityError, outcomes))) == ([True], 1)
    assert shop.rows(TAKEN) == [(1,)]


def test_counting_instead_of_holding_places_oversells(shop: Shop) -> None:
    """The control: offers without a place of their own, for a count that is below the stock."""
    session, barrier = shop.session(inventory=1), Barrier(2)
    change(shop, "ALTER TABLE offers DISABLE TRIGGER check_offer_places")
    try:
        together(
            *[
                lambda place=place: offer_unlocked(shop, session.session_id, barrier, place)
                for place in (1, 2)
            ]
        )
    finally:
        change(shop, "ALTER TABLE offers ENABLE TRIGGER check_offer_places")
    assert shop.rows(TAKEN) == [(2,)]


LOWER = "UPDATE sessions SET inventory = 1"


@pytest.mark.parametrize("lowered_first", [True, False])
def test_an_inventory_that_falls_and_an_offer_above_it_do_not_both_commit(
    shop: Shop, lowered_first: bool
) -> None:
    session = shop.session(inventory=2)

    def write(connection: Connection, lowers: bool) -> None:
        if lowers:
            connection.execute(text(LOWER))
        else:
            offer(connection, session.session_id, 2)

    def write_second() -> Any:
        with shop.services.engine.begin() as connection:
            write(connection, not lowered_first)

    with ThreadPoolExecutor(1) as thread:
        with shop.services.engine.begin() as first:
            write(first, lowered_first)
            second = thread.submit(write_second)
            wait_for_blocked(shop)
        with pytest.raises(IntegrityError, match="inventory"):
            second.result(BARRIER_SECONDS)
