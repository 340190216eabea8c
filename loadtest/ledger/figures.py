"""Figures of a run computed from its ledger, per second and in total."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor

from loadtest.ledger.ledger import ACCEPTED, EXPECTED_REFUSALS, Attempt


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value not below `share` of all values (nearest rank).

    `ordered` is ascending; nan when it is empty.
    """
    if not ordered:
        return float("nan")
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of bids in milliseconds."""

    count: int
    p50: float
    p99: float
    slowest: float

    @classmethod
    def of(cls, milliseconds: Iterable[float]) -> "Latency":
        ordered = sorted(milliseconds)
        return cls(
            count=len(ordered),
            p50=percentile(ordered, 0.50),
            p99=percentile(ordered, 0.99),
            slowest=percentile(ordered, 1.0),
        )


@dataclass(frozen=True, slots=True)
class Second:
    """Figures of one second of a sale; `at` is in seconds from its start.

    `offered` counts bids by their intended time, `achieved` accepted bids by the time of the
    response. `latency` is that of the bids intended for this second.
    """

    at: int
    offered: int
    achieved: int
    errors: Counter[str]
    latency: Latency


def seconds(attempts: Iterable[Attempt], start: float) -> list[Second]:
    """The run per second, without gaps."""
    offered: defaultdict[int, list[Attempt]] = defaultdict(list)
    achieved: Counter[int] = Counter()
    for attempt in attempts:
        offered[floor(attempt.intended_at - start)].append(attempt)
        if attempt.kind == ACCEPTED:
            achieved[floor(attempt.answered_at - start)] += 1
    touched = offered.keys() | achieved.keys()
    if not touched:
        return []
    return [
        _second(at, offered.get(at, []), achieved[at])
        for at in range(min(touched), max(touched) + 1)
    ]


def _second(at: int, intended: list[Attempt], achieved: int) -> Second:
    return Second(
        at=at,
        offered=len(intended),
        achieved=achieved,
        errors=Counter(attempt.kind for attempt in intended if not attempt.is_confirmed),
        latency=Latency.of(attempt.latency_ms for attempt in intended),
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals of a run. `errors` and latencies exclude expected refusals: the many late
    bids say nothing about those that count.
    """

    kinds: Counter[str]
    errors: int
    latency: Latency
    service: Latency
    best_second: int

    @property
    def attempts(self) -> int:
        return self.kinds.total()

    @property
    def accepted(self) -> int:
        return self.kinds[ACCEPTED]


def totals(attempts: Sequence[Attempt], by_second: Iterable[Second]) -> Totals:
    """Compute the totals of a run."""
    counting = [attempt for attempt in attempts if attempt.kind not in EXPECTED_REFUSALS]
    return Totals(
        kinds=Counter(attempt.kind for attempt in attempts),
        errors=sum(attempt.is_error for attempt in attempts),
        latency=Latency.of(attempt.latency_ms for attempt in counting),
        service=Latency.of(attempt.service_ms for attempt in counting),
        best_second=max((second.achieved for second in by_second), default=0),
    )
