"""Offers from the close on: who gets one, what ends it, and who is next."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from core import errors
from core.orders.places import OfferState
from tests.integration.orders.offering import (
    bid_on,
    change,
    events,
    expire,
    offer_of,
    offers,
    sold,
    sweep,
)
from tests.support.factories import Shop

UNPAID = [OfferState.DECLINED, OfferState.WITHDRAWN]
GONE = {
    "disabled": "UPDATE users SET disabled_at = now() WHERE username = :name",
    "erased": "UPDATE users SET disabled_at = now(), erased_at = now() WHERE username = :name",
    "deleted": "DELETE FROM users WHERE username = :name",
}


def test_the_close_offers_each_place_to_one_of_the_best(shop: Shop) -> None:
    sold(shop, 5, inventory=3, offer_minutes=1.5)
    assert offers(shop) == [(1, 1, "open"), (2, 2, "open"), (3, 3, "open")]
    assert shop.rows("SELECT DISTINCT expires_at - opened_at FROM offers") == [
        (timedelta(seconds=90),)
    ]


@pytest.mark.parametrize(("bidders", "inventory"), [(2, 1_000_000_000), (0, 3)])
def test_places_without_bidders_stay_free(shop: Shop, bidders: int, inventory: int) -> None:
    sold(shop, bidders, inventory=inventory)
    assert [rank for rank, _, _ in offers(shop)] == list(range(1, bidders + 1))


@pytest.mark.parametrize("state", UNPAID)
def test_a_place_that_comes_free_goes_to_the_lowest_rank_never_offered(
    shop: Shop, state: OfferState
) -> None:
    session = sold(shop, 4, inventory=2)
    for rank in (1, 3):
        shop.services.offers.settle(session.session_id, offer_of(shop, rank), state)
    assert offers(shop) == [
        (1, 1, state.value),
        (2, 2, "open"),
        (3, 1, state.value),
        (4, 1, "open"),
    ]


def test_after_the_last_rank_a_place_stays_free(shop: Shop) -> None:
    session = sold(shop, 1, inventory=1)
    shop.services.offers.settle(session.session_id, offer_of(shop, 1), OfferState.DECLINED)
    assert offers(shop) == [(1, 1, "declined")]


def test_a_withdrawn_place_may_leave_the_sale(shop: Shop) -> None:
    session = sold(shop, 3, inventory=1)
    shop.services.offers.settle(
        session.session_id, offer_of(shop, 1), OfferState.WITHDRAWN, hand_on=False
    )
    assert offers(shop) == [(1, 1, "withdrawn")]
    assert sweep(shop) == 0


def test_what_has_expired_is_swept_and_offered_on(shop: Shop) -> None:
    sold(shop, 5, inventory=3)
    expire(shop, "rank IN (1, 3)")
    assert sweep(shop) == 2
    assert sweep(shop) == 0
    assert offers(shop) == [
        (1, 1, "expired"),
        (2, 2, "open"),
        (3, 3, "expired"),
        (4, 1, "open"),
        (5, 3, "open"),
    ]


@pytest.mark.parametrize(("seconds", "handed_on"), [(-1, False), (3600, True)])
def test_after_the_end_of_offers_no_place_goes_on(
    shop: Shop, seconds: int, handed_on: bool
) -> None:
    session = sold(shop, 3, inventory=1)
    change(
        shop,
        "UPDATE sessions SET offers_end = :end",
        end=datetime.now(UTC) + timedelta(seconds=seconds),
    )
    shop.services.offers.settle(session.session_id, offer_of(shop, 1), OfferState.DECLINED)
    assert len(offers(shop)) == (2 if handed_on else 1)


# --- Terminal states -----------------------------------------------------------------


@pytest.mark.parametrize("state", [OfferState.PAID, *UNPAID])
def test_settling_twice_changes_nothing(shop: Shop, state: OfferState) -> None:
    session, offer_id = sold(shop, 3, inventory=1), offer_of(shop, 1)
    first = shop.services.offers.settle(session.session_id, offer_id, state)
    before = (offers(shop), events(shop))
    assert shop.services.offers.settle(session.session_id, offer_id, state) == first
    assert (offers(shop), events(shop)) == before
    assert (first.state, first.version) == (state, 2)


@pytest.mark.parametrize("state", [OfferState.PAID, *UNPAID])
@pytest.mark.parametrize("other", [OfferState.PAID, *UNPAID])
def test_what_has_ended_never_changes(shop: Shop, state: OfferState, other: OfferState) -> None:
    if state is other:
        other = OfferState.EXPIRED
    session, offer_id = sold(shop, 2, inventory=1), offer_of(shop, 1)
    shop.services.offers.settle(session.session_id, offer_id, state)
    with pytest.raises(errors.OfferSettled, match=state.value):
        shop.services.offers.settle(session.session_id, offer_id, other)
    with pytest.raises(IntegrityError, match="never changes"):
        change(shop, "UPDATE offers SET state = :other WHERE rank = 1", other=other.value)


@pytest.mark.parametrize("state", [OfferState.PAID, *UNPAID])
@pytest.mark.parametrize("is_swept", [True, False])
def test_after_the_deadline_an_offer_is_refused_for_good(
    shop: Shop, state: OfferState, is_swept: bool
) -> None:
    session, offer_id = sold(shop, 3, inventory=1), offer_of(shop, 1)
    expire(shop)
    if is_swept:
        sweep(shop)
    for _ in range(2):
        with pytest.raises(errors.OfferExpired):
            shop.services.offers.settle(session.session_id, offer_id, state)
    assert offers(shop) == [(1, 1, "expired"), (2, 1, "open")]


def test_the_offer_of_another_session_is_not_found(shop: Shop) -> None:
    sold(shop, 1, inventory=1)
    other = shop.session()
    with pytest.raises(errors.OfferNotFound):
        shop.services.offers.settle(other.session_id, offer_of(shop, 1), OfferState.PAID)


# --- Members who are gone ------------------------------------------------------------


@pytest.mark.parametrize(("how", "reason"), [(how, how) for how in GONE] + [("none", "")])
def test_members_who_are_gone_are_passed_over_and_recorded(
    shop: Shop, how: str, reason: str
) -> None:
    session = bid_on(shop, 5, inventory=2)
    if how != "none":
        for name in ("rank1", "rank4"):
            change(shop, GONE[how], name=name)
    shop.close(session)
    shop.services.offers.settle(session.session_id, offer_of(shop, 2), OfferState.DECLINED)
    reason = "erased" if reason == "deleted" else reason
    assert shop.rows("SELECT rank, reason FROM offers_passed_over ORDER BY rank") == (
        [(1, reason), (4, reason)] if reason else []
    )
    offered = [rank for rank, _, _ in offers(shop)]
    assert offered == ([2, 3, 5] if reason else [1, 2, 3])


def test_a_member_passed_over_gets_no_later_turn(shop: Shop) -> None:
    session = bid_on(shop, 4, inventory=1)
    change(shop, GONE["disabled"], name="rank1")
    shop.close(session)
    change(shop, "UPDATE users SET disabled_at = NULL")
    shop.services.offers.settle(session.session_id, offer_of(shop, 2), OfferState.DECLINED)
    assert [rank for rank, _, _ in offers(shop)] == [2, 3]


# --- Prices, events, notifications ---------------------------------------------------


def test_a_successor_pays_what_beats_the_rank_behind_and_told_prices_stay(shop: Shop) -> None:
    session = sold(shop, 4, inventory=1, pricing="second_score")
    prices = "SELECT cast(price_to_pay AS text) FROM rankings ORDER BY rank"
    assert shop.rows(prices) == [("899.98",), (None,), (None,), (None,)]
    shop.services.offers.settle(session.session_id, offer_of(shop, 1), OfferState.DECLINED)
    assert shop.rows(prices) == [("899.98",), ("899.97",), (None,), (None,)]


def test_every_change_is_an_event_with_the_offer_as_it_was(shop: Shop) -> None:
    session = sold(shop, 4, inventory=2)
    settle, session_id = shop.services.offers.settle, session.session_id
    settle(session_id, offer_of(shop, 1), OfferState.DECLINED)
    settle(session_id, offer_of(shop, 2), OfferState.PAID)
    expire(shop)
    sweep(shop)
    settle(session_id, offer_of(shop, 4), OfferState.WITHDRAWN)
    assert events(shop) == [
        ("offer.opened", 1, 1),
        ("offer.opened", 2, 1),
        ("offer.declined", 1, 2),
        ("offer.opened", 3, 1),
        ("offer.paid", 2, 2),
        ("offer.expired", 3, 2),
        ("offer.opened", 4, 1),
        ("offer.withdrawn", 4, 2),
    ]


def test_an_event_has_all_that_an_order_needs(shop: Shop) -> None:
    session = sold(shop, 1, inventory=1)
    [(data, subject)] = shop.rows("SELECT data, subject_id FROM shop_events WHERE event LIKE 'o%'")
    [offer], _ = shop.services.offer_lists.of_session(
        session.session_id, None, page=1, page_size=10
    )
    assert subject == offer.offer_id
    [(product_id,)] = shop.rows("SELECT product_id FROM sessions")
    expected: dict[str, Any] = {
        name: str(getattr(offer, name)) for name in ("offer_id", "session_id", "user_id")
    }
    assert datetime.fromisoformat(data.pop("opened_at")) == offer.opened_at
    assert datetime.fromisoformat(data.pop("expires_at")) == offer.expires_at
    assert data == expected | {
        "product_id": str(product_id),
        "product_name": "Item",
        "username": "rank1",
        "email": offer.email,
        "rank": 1,
        "place": 1,
        "price_to_pay": "899.99",
        "currency": "EUR",
        "state": "open",
        "settled_at": None,
        "version": 1,
    }


def test_an_erased_member_is_erased_from_events(shop: Shop) -> None:
    sold(shop, 2, inventory=2)
    erased = shop.services.erasure.find("rank1")
    shop.services.erasure.erase(erased)
    assert shop.rows("SELECT data->>'username', data->>'email' FROM shop_events ORDER BY 1")[0] == (
        "deleted member",
        None,
    )
    assert shop.rows("SELECT count(*) FROM shop_events WHERE data->>'username' = 'rank2'") == [(1,)]


def test_a_successor_is_notified_once_and_winners_by_the_results_alone(shop: Shop) -> None:
    session = sold(shop, 3, inventory=1)
    shop.services.offers.settle(session.session_id, offer_of(shop, 1), OfferState.DECLINED)
    shop.services.announcing.announce(session.session_id, seconds=30)
    assert shop.rows(
        "SELECT username, kind FROM notifications JOIN users ON users.id = user_id ORDER BY 1, 2"
    ) == [
        ("rank1", "session_ended"),
        ("rank2", "offer_opened"),
        ("rank2", "session_ended"),
        ("rank3", "session_ended"),
    ]


# --- What PostgreSQL holds whatever writes -------------------------------------------

NEW_OFFER = (
    "INSERT INTO offers (id, session_id, user_id, rank, place, expires_at)"
    " SELECT gen_random_uuid(), session_id, {user}, {rank}, {place}, now() FROM offers WHERE rank=1"
)


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE sessions SET inventory = 1", "cannot fall below a place"),
        (NEW_OFFER.format(user="gen_random_uuid()", rank=9, place=1), "uq_offers_place_taken"),
        (NEW_OFFER.format(user="gen_random_uuid()", rank=9, place=4), "above the inventory"),
        (NEW_OFFER.format(user="user_id", rank=9, place=3), "uq_offers_session_id_user_id"),
        (NEW_OFFER.format(user="gen_random_uuid()", rank=1, place=3), "uq_offers_session_id_rank"),
        ("UPDATE offers SET place = 3 WHERE rank = 1", "never changes"),
        ("UPDATE offers SET user_id = gen_random_uuid() WHERE rank = 1", "never changes"),
    ],
)
def test_postgresql_refuses_what_would_oversell(shop: Shop, statement: str, rule: str) -> None:
    sold(shop, 2, inventory=3)
    with pytest.raises(IntegrityError, match=rule):
        change(shop, statement)


@pytest.mark.parametrize("inventory", [2, 9])
def test_the_inventory_may_change_above_the_places_that_are_taken(
    shop: Shop, inventory: int
) -> None:
    sold(shop, 2, inventory=3)
    change(shop, "UPDATE sessions SET inventory = :inventory", inventory=inventory)
