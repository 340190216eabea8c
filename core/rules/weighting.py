"""The member weight formula. Pure; `core/members/weights.py` computes the same in SQL.

    W = clamp(1 + 0.25 * ln(1 + p) + 0.5 * ln(1 + w), 1, 5)

p and w count the member's sessions joined and won, each as 0.5 ** (age / 30 days), so that
old sessions fade. A new member has exactly 1.
"""

from collections.abc import Iterable
from math import log

NEW_MEMBER_WEIGHT = 1.0
MAX_WEIGHT = 5.0
JOINED_FACTOR = 0.25
WON_FACTOR = 0.5
HALF_LIFE_DAYS = 30.0


def decayed(ages_days: Iterable[float]) -> float:
    """The decayed count of sessions of these ages."""
    return sum(float(0.5 ** (age / HALF_LIFE_DAYS)) for age in ages_days)


def weight(joined: float, won: float) -> float:
    """Weight from the decayed counts of sessions joined and won."""
    raw = NEW_MEMBER_WEIGHT + JOINED_FACTOR * log(1 + joined) + WON_FACTOR * log(1 + won)
    return min(max(raw, NEW_MEMBER_WEIGHT), MAX_WEIGHT)
