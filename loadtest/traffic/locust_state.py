"""State shared by Locust's users in one process: the sale, its members, the ledger."""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from loadtest.ledger.ledger import Attempt, Ledger
from loadtest.sale import prices
from loadtest.sale.members import MemberToken
from loadtest.sale.plan import LoadPlan
from loadtest.sale.sale import SaleSession


class SimulatedBidder:
    """A member's state, kept between Locust users."""

    def __init__(self, member: MemberToken, plan: LoadPlan, sale: SaleSession) -> None:
        self.member = member
        self.random = Random(f"{plan.seed}:{member.user_id}")
        self.limit = prices.limit(self.random, sale.terms)
        self.standing = Decimal(0)
        self.score = float("-inf")
        # A new member's weight, until a response shows the real one.
        self.weight = 1.0

    def keep(self, price: Decimal, answer: Attempt) -> None:
        """Remember a confirmed bid."""
        self.standing = price
        self.score = answer.score or 0.0
        self.weight = answer.weight or 1.0


@dataclass(slots=True)
class LocustState:
    """State shared by the members of this process."""

    plan: LoadPlan | None = None
    sale: SaleSession | None = None
    ledger: Ledger | None = None
    free: deque[SimulatedBidder] = field(default_factory=deque)
    threshold: float | None = None


locust_state = LocustState()
