"""Scores and ranks bids. Pure. The scripts and the SQL must compute the same.

    Score = alpha * Price + beta / (ResponseTime + 1) + gamma * UserWeight

All in IEEE 754 doubles and in the order written, so that Redis (Lua), PostgreSQL
(double precision) and Python reach the same bits.
"""

from dataclasses import dataclass, fields
from decimal import Decimal
from math import ulp
from typing import Any

from core.rules.weighting import MAX_WEIGHT

# The largest price of a bid; PostgreSQL stores prices as numeric(12, 2).
MAX_PRICE = Decimal("9999999999.99")
# Bounds alpha, beta and gamma, so that scores stay finite.
MAX_COEFFICIENT = 1e15
_CENT = 0.01
# A score is rounded three times, by up to half a spacing of doubles each, and so are two scores.
_SPACINGS_OF_A_CENT = 4
# Sequences count down from here inside a ranking member; 15 digits are exact in a double.
_SEQUENCE_CEILING = 999_999_999_999_999


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The session's weights of price (alpha), speed (beta) and loyalty (gamma)."""

    alpha: float
    beta: float
    gamma: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleTerms(Coefficients):
    """All that decides about a session's bids, except its time.

    `allow_lower_bids`: whether a member may lower the standing price; None: not decided yet.
    """

    upset_price: Decimal
    inventory: int
    allow_lower_bids: bool | None = None


def terms_of(session: object, kind: type[SaleTerms] = SaleTerms) -> dict[str, Any]:
    """A session's terms by name, from its row or from any dataclass that has them."""
    return {field.name: getattr(session, field.name) for field in fields(kind)}


def score(
    terms: Coefficients, price: Decimal | float, response_time: float, weight: float
) -> float:
    """Score of one bid; `response_time` in seconds since the session's start."""
    return terms.alpha * float(price) + terms.beta / (response_time + 1) + terms.gamma * weight


def tells_cents(terms: Coefficients) -> bool:
    """Whether one cent more always scores more. With alpha 0 prices are not to count.

    Judged at the largest score, where doubles are farthest apart.
    """
    largest = score(terms, MAX_PRICE, 0.0, MAX_WEIGHT)
    return terms.alpha == 0 or terms.alpha * _CENT >= _SPACINGS_OF_A_CENT * ulp(largest)


def response_time(accepted_at_us: int, start_us: int) -> float:
    """Seconds from the session's start to the bid; both in microseconds since 1970."""
    return (accepted_at_us - start_us) / 1_000_000


def ranking_member(sequence: int, user_id: str) -> str:
    """Member of `ranking:{sid}` for a bid.

    Redis orders equal scores by member, descending on a reversed read; a number that
    falls as the sequence grows puts the earlier bid first.
    """
    return f"{_SEQUENCE_CEILING - sequence:015d}:{user_id}"


def member_user_id(member: str) -> str:
    """The user id inside a ranking member."""
    return member[16:]


def member_sequence(member: str) -> int:
    """The sequence inside a ranking member."""
    return _SEQUENCE_CEILING - int(member[:15])


def is_winning(rank: int, inventory: int) -> bool:
    """Whether there is an item for this rank."""
    return rank <= inventory
