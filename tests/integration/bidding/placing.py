"""Shared by the tests of place bids."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from msgspec import msgpack

from core.bidding.placing import Bidder, PlacedBid
from core.bidlog.drain import DRAIN_TRUST_US
from core.redis import clock, keys, scripts
from core.sessions.sessions import SessionView
from tests.support.factories import Shop, bidding_like

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}
HOUR_US = 3_600_000_000
NO_LIMIT = (0, 1)


def call_all(
    shop: Shop,
    session: SessionView,
    bids: Sequence[tuple[Bidder, str] | tuple[Bidder, str, bool]],
    *,
    weight: str = "",
    limits: tuple[float, int] = NO_LIMIT,
) -> tuple[list[Any], list[list[Any]]]:
    """The script's own reply to these bids in one call: what holds for all, and one for each.
    A third element of a bid is its `only_if_better`.
    """
    session_id = session.session_id
    members = [bidder.user_id for bidder, *_ in bids]
    arguments = [
        [str(bidder.user_id), bidder.username, price, bidder.token_id, weight, *only_if_better]
        for bidder, price, *only_if_better in bids
    ]
    of_all, *replies = scripts.place_bids(
        shop.services.redis,
        [
            keys.session_params(session_id),
            keys.ranking(session_id),
            keys.bid_log(session_id),
            keys.REVOKED_TOKENS,
            *[keys.standing_bid(session_id, member) for member in members],
            *[keys.user_weight(member) for member in members],
        ],
        [*limits, DRAIN_TRUST_US, keys.standing_prices(session_id), msgpack.encode(arguments)],
    )
    return of_all, replies


def call(
    shop: Shop,
    bidder: Bidder,
    session: SessionView,
    price: str = "120.00",
    *,
    weight: str = "",
    limits: tuple[float, int] = NO_LIMIT,
) -> list[Any]:
    """The script's reply to one bid, without the service that heals what Redis lost."""
    _, [reply] = call_all(shop, session, [(bidder, price)], weight=weight, limits=limits)
    return reply


def limited(shop: Shop, rate: float, burst: int) -> Callable[..., PlacedBid]:
    """Places bids under a rate limit of the test's own."""
    bidding = bidding_like(shop.services, bids_per_second=rate, burst=burst)

    def bid(
        bidder: Bidder, session: SessionView, price: str, *, only_if_better: bool = False
    ) -> PlacedBid:
        return bidding.place(
            bidder,
            session.session_id,
            Decimal(price),
            only_if_better=only_if_better,
            schedule_drain=shop.drains_scheduled.append,
        )

    return bid


def param(shop: Shop, session: SessionView, field: str) -> str | None:
    return shop.services.redis.hget(keys.session_params(session.session_id), field)


def set_param(shop: Shop, session: SessionView, field: str, value: str | int) -> None:
    shop.services.redis.hset(keys.session_params(session.session_id), field, value)


def now_us(shop: Shop) -> int:
    return clock.to_microseconds(clock.now(shop.services.redis))


def wait(shop: Shop, bidder: Bidder, session: SessionView, seconds: float) -> None:
    """Let the bidder's bucket refill for so long, without waiting."""
    name = keys.standing_bid(session.session_id, bidder.user_id)
    shop.services.redis.hincrby(name, "tokens_at", -round(seconds * 1_000_000))


def lose_revocations(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.redis.delete(keys.REVOKED_TOKENS)


def revoke_token(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.revocations.revoke(bidder.token_id, session.end_time)


def lose_session(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.redis.delete(keys.session_params(session.session_id))


def end_in_time(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.end(session)


def pause(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.sessions.deactivate(session.session_id)


def start_later(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    set_param(shop, session, "start", now_us(shop) + HOUR_US)


def lose_weight(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    shop.services.redis.delete(keys.user_weight(bidder.user_id))
