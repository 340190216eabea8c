"""How a flash sale's traffic rises and falls: a spike at the opening, another at the deadline.

    level(t) = quiet + (opening - quiet) * exp(-t / opening_seconds)
                     + (1 - quiet) * exp(-(duration - t) / closing_seconds)

`t` counts seconds from the session's start; the level is a share of the peak, at most 1.
Before the start the early ones wait at the opening's level; for a moment after the end
those who are too late still come at the peak's.
"""

from dataclasses import dataclass
from math import exp
from random import Random

LATE_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Curve:
    """The curve of one sale. Shares are of the peak."""

    duration_seconds: float
    opening: float = 0.6
    quiet: float = 0.08

    @property
    def opening_seconds(self) -> float:
        """How long the opening's spike takes to fall to 37 per cent."""
        return self.duration_seconds / 15

    @property
    def closing_seconds(self) -> float:
        """How long before the deadline the rush stands at 37 per cent."""
        return self.duration_seconds / 8

    @property
    def over_after_seconds(self) -> float:
        """When the last of the late ones has come."""
        return self.duration_seconds + LATE_SECONDS

    def level(self, t: float) -> float:
        """Share of the peak at `t`; 0 when all is over."""
        if t < 0:
            return self.opening
        if t >= self.over_after_seconds:
            return 0.0
        before_the_end = max(0.0, self.duration_seconds - t)
        spike = (self.opening - self.quiet) * exp(-t / self.opening_seconds)
        rush = (1 - self.quiet) * exp(-before_the_end / self.closing_seconds)
        return min(1.0, self.quiet + spike + rush)

    def arrivals(self, peak_per_second: float, seed: int) -> list[float]:
        """Moments at which requests are due: a Poisson process whose rate follows the curve.

        Thinned from a process at the peak's rate, so the same seed gives the same moments.
        """
        random = Random(seed)
        moments: list[float] = []
        t = random.expovariate(peak_per_second)
        while t < self.over_after_seconds:
            if random.random() < self.level(t):
                moments.append(t)
            t += random.expovariate(peak_per_second)
        return moments
