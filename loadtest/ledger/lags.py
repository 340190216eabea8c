"""Frame lag: the time from accepting a bid until a watcher sees it."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor

from loadtest.ledger.ledger import ACCEPTED, Attempt, SeenFrames


@dataclass(frozen=True, slots=True)
class Lag:
    """Milliseconds; `count` is bids times watchers. Percentiles by nearest rank."""

    count: int
    p50: float
    p99: float
    slowest: float

    @classmethod
    def of(cls, counted: Counter[int]) -> "Lag":
        """`counted` maps milliseconds to their frequency."""
        ordered = sorted(counted.items())
        total = counted.total()
        return cls(total, *(_ranked(ordered, ceil(share * total)) for share in (0.5, 0.99, 1.0)))


def _ranked(ordered: Sequence[tuple[int, int]], rank: int) -> float:
    """The value at `rank`, counted from 1; nan when there is none."""
    for value, count in ordered:
        rank -= count
        if rank <= 0:
            return float(value)
    return float("nan")


def moments(attempts: Iterable[Attempt]) -> list[float]:
    """Acceptance times by the server's clock, in seconds since 1970, ascending."""
    return sorted(
        datetime.fromisoformat(attempt.accepted_at).timestamp()
        for attempt in attempts
        if attempt.kind == ACCEPTED and attempt.accepted_at
    )


def by_second(
    seen: Iterable[SeenFrames], accepted: Sequence[float], start: float
) -> dict[int, Counter[int]]:
    """Frequencies of lags in milliseconds, by the second of acceptance since `start`.

    A bid accepted between two frames is seen with the later one.
    `accepted` is ascending, `start` by the server's clock.
    """
    found: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for one in seen:
        first, last = bisect_right(accepted, one.after), bisect_right(accepted, one.shown)
        for moment in accepted[first:last]:
            lags, waited_ms = found[floor(moment - start)], round((one.shown - moment) * 1000)
            for delay_ms, watchers in one.delays_ms.items():
                lags[waited_ms + delay_ms] += watchers
    return dict(sorted(found.items()))


def total(seen: Iterable[SeenFrames], accepted: Sequence[float]) -> Lag:
    """The lag over all frames."""
    counted: Counter[int] = Counter()
    for lags in by_second(seen, accepted, 0.0).values():
        counted.update(lags)
    return Lag.of(counted)
