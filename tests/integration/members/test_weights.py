"""Weights: the SQL agrees with the formula, and an open session is left alone."""

from datetime import datetime, timedelta
from math import inf
from uuid import UUID

import pytest
from sqlalchemy import text

from core.orders.places import OfferState
from core.redis import clock, keys
from core.rules.weighting import decayed, weight
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}
AGES_DAYS = [0, 3.5, 30, 45, 400]


def stored_weights(shop: Shop) -> dict[UUID, float]:
    return {row[0]: row[1] for row in shop.rows("SELECT id, weight FROM users")}


def cached(shop: Shop, user_id: UUID) -> float:
    return float(shop.services.redis.get(keys.user_weight(user_id)))


def make_older(shop: Shop, session: SessionView, now: datetime, age_days: float) -> None:
    with shop.services.engine.begin() as connection:
        connection.execute(
            text("UPDATE sessions SET start_time = :end, end_time = :end WHERE id = :id"),
            {"id": session.session_id, "end": now - timedelta(days=age_days)},
        )


def season(shop: Shop) -> tuple[datetime, SessionView, dict[UUID, float]]:
    """Closed sessions of different ages; the last one, and every member's weight by formula.

    The first of four members joins all sessions and wins them, the second joins all and
    wins none, the third joins the odd ones, the fourth never takes part.
    """
    now = clock.now(shop.services.redis)
    winner, loser, rare, idle = (shop.bidder() for _ in range(4))
    for number, age in enumerate(AGES_DAYS):
        session = shop.session(inventory=1, **BY_PRICE)
        shop.bid(winner, session, "150")
        shop.bid(loser, session, "140")
        if number % 2:
            shop.bid(rare, session, "130")
        shop.close(session)
        make_older(shop, session, now, age)
    joined = decayed(AGES_DAYS)
    return (
        now,
        session,
        {
            winner.user_id: weight(joined, joined),
            loser.user_id: weight(joined, 0),
            rare.user_id: weight(decayed(AGES_DAYS[1::2]), 0),
            idle.user_id: 1.0,
        },
    )


def test_recomputed_weights_are_those_of_the_formula(shop: Shop) -> None:
    now, _, expected = season(shop)
    assert shop.services.weights.recompute_all(now) == 3
    assert stored_weights(shop) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("state", "won"),
    [("paid", [1, 0]), ("open", [1, 0]), ("expired", [0, 1]), ("declined", [0, 1]), (None, [1, 0])],
)
def test_a_win_counts_while_it_is_not_left_unpaid(
    shop: Shop, state: str | None, won: list[int]
) -> None:
    """With None as an older version closed it: without offers."""
    bidders = [shop.bidder(), shop.bidder()]
    session = shop.session(inventory=1, **BY_PRICE)
    for bidder, price in zip(bidders, ("150", "140"), strict=True):
        shop.bid(bidder, session, price)
    shop.close(session)
    if state in ("paid", "declined"):
        [(offer_id,)] = shop.rows("SELECT id FROM offers")
        shop.services.offers.settle(session.session_id, offer_id, OfferState(state))
    with shop.services.engine.begin() as connection:
        if state is None:
            connection.execute(text("DELETE FROM offers"))
        if state == "expired":
            connection.execute(text("UPDATE offers SET expires_at = clock_timestamp()"))
    shop.services.offers.sweep(seconds=inf)
    [(end,)] = shop.rows("SELECT end_time FROM sessions")
    shop.services.weights.recompute_all(end)
    weights = stored_weights(shop)
    assert [weights[bidder.user_id] for bidder in bidders] == pytest.approx(
        [weight(1, each) for each in won], rel=1e-12
    )


def test_recomputed_weights_are_in_the_cache(shop: Shop) -> None:
    now, _, expected = season(shop)
    shop.services.weights.recompute_all(now)
    assert {user_id: cached(shop, user_id) for user_id in expected} == stored_weights(shop)


def test_only_the_bidders_of_an_ended_session_are_recomputed(shop: Shop) -> None:
    now, last, expected = season(shop)
    [rare] = [user for user, value in expected.items() if value == weight(decayed([3.5, 45]), 0)]
    assert shop.services.weights.recompute_bidders_of(last.session_id, now) == 2
    assert stored_weights(shop) == pytest.approx(expected | {rare: 1.0}, rel=1e-12)


def test_recomputing_twice_changes_nothing(shop: Shop) -> None:
    now, last, _ = season(shop)
    shop.services.weights.recompute_bidders_of(last.session_id, now)
    before = (stored_weights(shop), shop.redis_state())
    shop.services.weights.recompute_bidders_of(last.session_id, now)
    assert (stored_weights(shop), shop.redis_state()) == before


def test_weights_fade_with_time(shop: Shop) -> None:
    now, _, _ = season(shop)
    shop.services.weights.recompute_all(now)
    fresh = stored_weights(shop)
    shop.services.weights.recompute_all(now + timedelta(days=60))
    faded = stored_weights(shop)
    assert all(1.0 <= faded[user] <= fresh[user] for user in fresh)
    assert sum(faded.values()) < sum(fresh.values())


def test_no_weight_exceeds_five(shop: Shop) -> None:
    now, _, _ = season(shop)
    with shop.services.engine.begin() as connection:
        connection.execute(
            text(
                "WITH made AS (INSERT INTO sessions SELECT gen_random_uuid(), product_id,"
                " upset_price, inventory, alpha, beta, gamma, start_time, end_time, status,"
                " created_at, closed_at, final_price, highest_bid, published_at"
                " FROM sessions, generate_series(1, 300) RETURNING id)"
                " INSERT INTO rankings SELECT made.id, users.id, 1, 1, 1, 1"
                " FROM made, (SELECT id FROM users LIMIT 1) users"
            )
        )
    shop.services.weights.recompute_all(now)
    assert max(stored_weights(shop).values()) == 5.0


def test_a_session_that_ends_in_the_future_counts_once(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    shop.close(session)
    now = clock.now(shop.services.redis) - timedelta(days=300)
    shop.services.weights.recompute_all(now)
    assert stored_weights(shop)[bidder.user_id] == pytest.approx(weight(1, 1), rel=1e-12)


def test_an_open_session_keeps_the_weights_it_began_with(shop: Shop) -> None:
    open_session, ended, bidder = shop.session(), shop.session(), shop.bidder()
    shop.bid(bidder, open_session, "120")
    shop.bid(bidder, ended, "120")
    shop.close(ended)
    shop.services.weights.recompute_bidders_of(ended.session_id, clock.now(shop.services.redis))
    assert cached(shop, bidder.user_id) > 1.0
    assert shop.bid(bidder, open_session, "121").user_weight == 1.0
    assert shop.bid(bidder, shop.session(), "121").user_weight == cached(shop, bidder.user_id)


def test_a_session_without_bidders_recomputes_nobody(shop: Shop) -> None:
    session = shop.session()
    shop.close(session)
    now = clock.now(shop.services.redis)
    assert shop.services.weights.recompute_bidders_of(session.session_id, now) == 0


def test_loading_a_weight_never_overwrites_a_newer_one(shop: Shop) -> None:
    bidder = shop.bidder()
    shop.services.redis.set(keys.user_weight(bidder.user_id), "3.5")
    assert shop.services.weights.find((bidder.user_id,)) == {bidder.user_id: 1.0}
    assert cached(shop, bidder.user_id) == 3.5


# --- A recomputation that is lost -----------------------------------------------------


class Killed(Exception):
    """Stands for the death of the process."""


def close_a_while_ago(shop: Shop) -> tuple[SessionView, UUID]:
    """A session that was closed two minutes ago, and its one bidder."""
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "150")
    shop.close(session)
    move = "UPDATE sessions SET published_at = published_at - interval '2 minutes'"
    with shop.services.engine.begin() as connection:
        connection.execute(text(move))
    return session, bidder.user_id


def now_of(shop: Shop) -> datetime:
    return clock.now(shop.services.redis)


def test_a_recomputation_killed_before_the_cache_is_due_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, user_id = close_a_while_ago(shop)
    weights = shop.services.weights

    def die(_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(weights, "_refresh_cache", die)
        with pytest.raises(Killed):
            weights.recompute_bidders_of(session.session_id, now_of(shop))
    assert cached(shop, user_id) < stored_weights(shop)[user_id], "the cache is old"

    assert weights.claim_due() == [session.session_id]
    assert weights.claim_due() == [], "the caller is trusted for a minute"
    weights.recompute_bidders_of(session.session_id, now_of(shop))
    assert cached(shop, user_id) == stored_weights(shop)[user_id]
    shop.services.redis.delete(keys.recomputation_claim(session.session_id))
    assert weights.claim_due() == []


def test_the_job_that_the_close_enqueued_is_trusted_for_a_minute(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    shop.close(session)
    assert shop.services.weights.claim_due() == []
