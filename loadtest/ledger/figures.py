"""Figures of a run, second by second and in all, from the ledger."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor

from loadtest.ledger.ledger import ACCEPTED, EXPECTED_REFUSALS, Attempt


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that is not below `share` of all values (nearest rank).

    `ordered` is ascending; nan when it is empty.
    """
    if not ordered:
        return float("nan")
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long bids took, in milliseconds."""

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
    """What happened in one second of a sale; `at` is in seconds from its start.

    `offered` counts bids by when they were meant to be sent, `achieved` accepted ones by
    when the answer came. `latency` is that of the bids meant for this second.
    """

    at: int
    offered: int
    achieved: int
    errors: Counter[str]
    latency: Latency


def seconds(attempts: Iterable[Attempt], start: float) -> list[Second]:
    """The run second by second, without holes."""
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


def _second(at: int, meant: list[Attempt], achieved: int) -> Second:
    return Second(
        at=at,
        offered=len(meant),
        achieved=achieved,
        errors=Counter(attempt.kind for attempt in meant if not attempt.is_answered_yes),
        latency=Latency.of(attempt.latency_ms for attempt in meant),
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """The run in all. `errors` and times leave out refusals that belong to every sale:
    the many who come too late would say nothing about the bids that count.
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
    """The run in all."""
    counting = [attempt for attempt in attempts if attempt.kind not in EXPECTED_REFUSALS]
    return Totals(
        kinds=Counter(attempt.kind for attempt in attempts),
        errors=sum(attempt.is_error for attempt in attempts),
        latency=Latency.of(attempt.latency_ms for attempt in counting),
        service=Latency.of(attempt.service_ms for attempt in counting),
        best_second=max((second.achieved for second in by_second), default=0),
    )
