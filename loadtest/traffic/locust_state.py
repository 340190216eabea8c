"""What Locust's users in one process share: the sale, its members, the ledger."""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from loadtest.ledger.frames import Sightings
from loadtest.ledger.ledger import Attempt, Ledger
from loadtest.sale import prices
from loadtest.sale.members import MemberToken
from loadtest.sale.plan import Plan
from loadtest.sale.sale import Sale


class Bidder:
    """What a member remembers from one visit to the next."""

    def __init__(self, member: MemberToken, plan: Plan, sale: Sale) -> None:
        self.member = member
        self.random = Random(f"{plan.seed}:{member.user_id}")
        self.limit = prices.limit(self.random, sale.terms)
        self.standing = Decimal(0)
        self.score = float("-inf")
        # A member sees the weight only in an answer; before that, a new member's.
        self.weight = 1.0

    def keep(self, price: Decimal, answer: Attempt) -> None:
        """Remember a bid that stands."""
        self.standing = price
        self.score = answer.score or 0.0
        self.weight = answer.weight or 1.0


@dataclass(slots=True)
class Field:
    """What the members of this process share."""

    plan: Plan | None = None
    sale: Sale | None = None
    ledger: Ledger | None = None
    free: deque[Bidder] = field(default_factory=deque)
    threshold: float | None = None
    sightings: Sightings | None = None


ground = Field()
