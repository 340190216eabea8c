"""The traffic curve of a flash sale, with spikes at the opening and at the deadline.

    level(t) = quiet + (opening - quiet) * exp(-t / opening_seconds)
                     + (1 - quiet) * exp(-(duration - t) / closing_seconds)

`t` is in seconds from the session's start; the level is a share of the peak, at most 1.
Before the start, the level is the opening's, for waiting members; for a moment after the end,
it is the peak's, for late bids.
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
        """Time until the opening's spike has fallen to 37 per cent."""
        return self.duration_seconds / 15

    @property
    def closing_seconds(self) -> float:
        """Time before the deadline at which the rush has reached 37 per cent."""
        return self.duration_seconds / 8

    @property
    def end_seconds(self) -> float:
        """The time of the last late bids."""
        return self.duration_seconds + LATE_SECONDS

    def level(self, t: float) -> float:
        """Share of the peak at `t`; 0 after the last late bids."""
        if t < 0:
            return self.opening
        if t >= self.end_seconds:
            return 0.0
        before_the_end = max(0.0, self.duration_seconds - t)
        spike = (self.opening - self.quiet) * exp(-t / self.opening_seconds)
        rush = (1 - self.quiet) * exp(-before_the_end / self.closing_seconds)
        return min(1.0, self.quiet + spike + rush)

    def arrivals(self, peak_per_second: float, seed: int) -> list[float]:
        """Scheduled request times: a Poisson process whose rate follows the curve.

        Thinned from a process at the peak's rate, so the same seed gives the same moments.
        """
        random = Random(seed)
        moments: list[float] = []
        t = random.expovariate(peak_per_second)
        while t < self.end_seconds:
            if random.random() < self.level(t):
                moments.append(t)
            t += random.expovariate(peak_per_second)
        return moments
