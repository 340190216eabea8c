"""The auction in plain Python, as short as it can be said. Knows nothing of the product.

Moments are integer microseconds since 1970. The formulas stand here a second time on
purpose: a slip in the product's own ones would otherwise agree with itself.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import log, ulp

MAX_PRICE = Decimal("9999999999.99")


@dataclass(frozen=True, slots=True)
class Bid:
    sequence: int
    member: int
    price: Decimal
    score: float
    response_time: float
    weight: float
    accepted_at: int


@dataclass(frozen=True, slots=True)
class Terms:
    upset_price: Decimal
    inventory: int
    alpha: float
    beta: float
    gamma: float
    allow_lower_bids: bool
    pricing: str

    @property
    def tell_cents(self) -> bool:
        """Whether a cent is four times what the largest score is exact to."""
        largest = self.alpha * float(MAX_PRICE) + self.beta + self.gamma * 5
        return self.alpha == 0 or self.alpha * 0.01 >= 4 * ulp(largest)


class Auction:
    """One sale. Refusals are named as the product names its errors."""

    def __init__(self, terms: Terms, start: int, *, has_started: bool) -> None:
        self.terms = terms
        self.start = start
        self.has_started = has_started
        self.is_paused = self.is_over = self.is_closed = False
        self.bids: list[Bid] = []
        self.next_sequence = 1
        self.passed_over = 0

    @property
    def status(self) -> str:
        if self.is_over:
            return "ended"
        if self.is_paused:
            return "inactive"
        return "active" if self.has_started else "scheduled"

    def begin(self, now: int) -> None:
        self.start, self.has_started = now, True

    def refusal(self, member: int, price: Decimal) -> str | None:
        """Why a bid is refused whatever its score is and however fast its member bids."""
        refusals = {
            "ended": "SessionEnded",
            "inactive": "SessionInactive",
            "scheduled": "SessionNotStarted",
        }
        too_low = "PriceBelowStanding" if self.is_bound(member, price) else None
        if price < self.terms.upset_price:
            too_low = "PriceBelowUpset"
        return refusals.get(self.status, too_low)

    def is_bound(self, member: int, price: Decimal) -> bool:
        """Whether the member's standing price forbids this one."""
        is_free = self.terms.allow_lower_bids or member not in self.standing
        return not is_free and price < self.standing[member].price

    def is_better(self, member: int, score: float) -> bool:
        """Whether the score is above the member's standing one."""
        return member not in self.standing or score > self.standing[member].score

    @property
    def is_running(self) -> bool:
        """Between its start and its end, paused or not."""
        return self.has_started and not self.is_over

    def is_replay(self, member: int, price: Decimal) -> bool:
        return member in self.standing and self.standing[member].price == price

    def accept(self, member: int, price: Decimal, weight: float, now: int) -> Bid:
        """Take a bid; `weight` counts only when it is the member's first."""
        seconds = (now - self.start) / 1_000_000
        weight = self.weight(member, weight)
        score = self.score(price, weight, now)
        bid = Bid(self.next_sequence, member, price, score, seconds, weight, now)
        self.bids.append(bid)
        self.next_sequence += 1
        return bid

    def score(self, price: Decimal, weight: float, now: int) -> float:
        seconds = (now - self.start) / 1_000_000
        return (
            self.terms.alpha * float(price)
            + self.terms.beta / (seconds + 1)
            + self.terms.gamma * weight
        )

    def skip(self, sequences: int) -> None:
        """Pass over sequences behind the last one that is kept or was passed over."""
        last = self.bids[-1].sequence if self.bids else 0
        self.passed_over = max(last, self.passed_over) + sequences
        self.next_sequence = self.passed_over + 1

    def weight(self, member: int, weight: float) -> float:
        return self.standing[member].weight if member in self.standing else weight

    @property
    def standing(self) -> dict[int, Bid]:
        return {bid.member: bid for bid in self.bids}

    @property
    def ranking(self) -> list[Bid]:
        return sorted(self.standing.values(), key=lambda bid: (-bid.score, bid.sequence))

    @property
    def winners(self) -> list[Bid]:
        return self.ranking[: self.terms.inventory]

    @property
    def threshold(self) -> float | None:
        return self.winners[-1].score if self.bids else None

    @property
    def final_price(self) -> Decimal | None:
        return self.winners[-1].price if self.bids else None

    def is_price_to_pay(self, winner: Bid, price: Decimal) -> bool:
        """Whether the winner pays its bid, or else the lowest cent that still beats the losers."""
        if self.terms.pricing == "pay_as_bid":
            return price == winner.price
        losers = self.ranking[self.terms.inventory :]
        best = max([(loser.score, -loser.sequence) for loser in losers], default=(0.0, 0))

        def wins(price: Decimal) -> bool:
            # Not `self.score`: the start may have been moved since.
            terms = self.terms
            score = terms.alpha * float(price) + terms.beta / (winner.response_time + 1)
            score += terms.gamma * winner.weight
            return (score, -winner.sequence) > best or not losers

        less = price - Decimal("0.01")
        return (
            wins(price)
            and price >= self.terms.upset_price
            and (less < self.terms.upset_price or not wins(less))
        )

    @property
    def highest_bid(self) -> Decimal | None:
        return max((bid.price for bid in self.standing.values()), default=None)


class Bucket:
    """A member's allowance: full at first, one token a bid, refilled steadily."""

    def __init__(self, rate: float, size: int) -> None:
        self.rate, self.size = Fraction(rate), size
        self.tokens, self.filled_at = Fraction(size), 0

    def level(self, now: int) -> Fraction:
        return min(self.size, self.tokens + (now - self.filled_at) * self.rate / 1_000_000)

    def take(self, now: int) -> None:
        self.tokens, self.filled_at = self.level(now) - 1, now


def weight_of(joined: int, won: int) -> float:
    """A member's weight right after so many sales."""
    return min(5.0, 1 + 0.25 * log(1 + joined) + 0.5 * log(1 + won))
