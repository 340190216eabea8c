"""What a winner pays. Pure, standard library only.

Under `second_score` it is the lowest cent, from the starting price on, with which the winner
would still have ranked before the best loser. It is found by bisection over `score()` itself:
the formula solved for the price differs from it in the last cent.
"""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from core.rules.scoring import SaleTerms, score

DEFAULT_OFFER_MINUTES = 1440.0
# A year.
MAX_OFFER_MINUTES = 525_600


class Pricing(StrEnum):
    """How the price to pay follows from the bids."""

    PAY_AS_BID = "pay_as_bid"
    SECOND_SCORE = "second_score"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms(SaleTerms):
    """A sale's terms with those that count after its end.

    `offer_minutes`: how long an offer stands. `offers_end`: after it no place is offered again.
    """

    pricing: str = Pricing.PAY_AS_BID.value
    offer_minutes: float = DEFAULT_OFFER_MINUTES
    offers_end: datetime | None = None


@dataclass(frozen=True, slots=True)
class RankedBid:
    """A standing bid in the final ranking, with all that its score was computed from."""

    sequence: int
    price: Decimal
    score: float
    response_time: float
    weight: float


def rival_rank(rank: int, inventory: int) -> int:
    """The rank that a buyer has to beat: the best loser's, for a successor the next one."""
    return max(rank, inventory) + 1


def price_to_pay(terms: OrderTerms, bid: RankedBid, rival: RankedBid | None) -> Decimal:
    """What this bid's member pays; `rival`: the bid at `rival_rank`, None if there is none."""
    if terms.pricing != Pricing.SECOND_SCORE:
        return bid.price
    lowest, own = _cents(terms.upset_price), _cents(bid.price)
    cents = lowest + bisect_left(
        range(lowest, own + 1), True, key=lambda cents: _beats(terms, bid, cents, rival)
    )
    assert cents <= own, "a bid does not beat the one ranked after it"  # noqa: S101 - the ranking's own order
    return Decimal(cents).scaleb(-2)


def _beats(terms: OrderTerms, bid: RankedBid, cents: int, rival: RankedBid | None) -> bool:
    """Whether the bid at this price ranks before the rival; of equal scores the earlier does."""
    if rival is None:
        return True
    # The same double as float(Decimal): both are the nearest one.
    scored = score(terms, cents / 100, bid.response_time, bid.weight)
    return (scored, -bid.sequence) > (rival.score, -rival.sequence)


def _cents(price: Decimal) -> int:
    return int(price.scaleb(2))
