"""The prices that members bid. Pure functions; randomness is an argument.

A member has a limit and knows the threshold, the score of the last winning place.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from random import Random

CENT = Decimal("0.01")
MAX_PRICE = Decimal("9999999999.99")


@dataclass(frozen=True, slots=True)
class PricingTerms:
    """The session's terms that determine scores."""

    upset_price: float
    alpha: float
    beta: float
    gamma: float

    def price_for(self, score: float, t: float, weight: float) -> float:
        """The price that earns `score` at `t` seconds from the start."""
        if self.alpha == 0:
            return self.upset_price
        speed = self.beta / (max(0.0, t) + 1)
        return (score - speed - self.gamma * weight) / self.alpha


def limit(random: Random, terms: PricingTerms) -> float:
    """A member's limit: several times the upset price.

    Most also pay for the speed advantage of the members of the first second.
    """
    speed = terms.beta / terms.alpha if terms.alpha else 0.0
    worth = terms.upset_price * (1.2 + random.lognormvariate(1.6, 0.8))
    return worth + speed * random.uniform(0.8, 3.0)


def first(random: Random, upset_price: float) -> Decimal:
    """A first bid, before the threshold is known."""
    return _price(upset_price * (1 + random.expovariate(20)))


def higher(random: Random, *, needed: float, standing: Decimal, limit: float) -> Decimal | None:
    """A bid slightly above the needed price; None if that exceeds the limit."""
    wanted = max(needed, float(standing)) * (1 + random.uniform(0.002, 0.03))
    return _price(wanted) if wanted <= limit else None


def scheduled(random: Random, terms: PricingTerms, t: float, duration: float) -> Decimal:
    """A bid of the open model, which ignores the board: prices rise during the sale."""
    speed = terms.beta / terms.alpha if terms.alpha else 0.0
    progress = min(max(t / duration, 0.0), 1.0)
    rise = progress * (2 * terms.upset_price + speed) * random.uniform(0.7, 1.1)
    return _price(terms.upset_price * (1 + random.expovariate(4)) + rise)


class RisingPrices:
    """Keeps each bidder's prices rising: a session refuses a price below the standing one."""

    def __init__(self) -> None:
        self._last: dict[Hashable, Decimal] = {}

    def raised(self, bidder: Hashable, price: Decimal) -> Decimal:
        """`price`, or a cent above the bidder's last one if that is more."""
        last = self._last.get(bidder)
        if last is not None:
            price = min(max(price, last + CENT), MAX_PRICE)
        self._last[bidder] = price
        return price


def _price(amount: float) -> Decimal:
    return min(Decimal(repr(amount)).quantize(CENT, ROUND_UP), MAX_PRICE)
