"""Lock-free metrics of outcomes and their durations, for hot paths.

Each thread has its own cells; reading adds them up. Counting takes a third of a
microsecond; a counter and a histogram of prometheus_client, which lock, take four.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from threading import Lock, local

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# Counts per bucket (not cumulative), the count above all bounds, and the sum of seconds.
Cell = list[float]


class Tally(Collector):
    """Outcomes in the counter `<name>s_total`, durations in the histogram `<name>_seconds`."""

    def __init__(
        self, name: str, what: str, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._what = name, what
        self._bounds = tuple(bounds)
        self._own = local()
        self._cells: list[dict[str, Cell]] = []
        self._mutex = Lock()
        registry.register(self)

    def add(self, outcome: str, seconds: float, count: int = 1) -> None:
        """Count an outcome, `count` times."""
        try:
            cell = self._own.cells[outcome]
        except (AttributeError, KeyError):
            cell = self._new_cell(outcome)
        cell[bisect_left(self._bounds, seconds)] += count
        cell[-1] += count * seconds

    def total(self) -> dict[str, Cell]:
        """The counts of all threads, by outcome."""
        with self._mutex:
            threads = [cells.copy() for cells in self._cells]
        total: dict[str, Cell] = {}
        for cells in threads:
            for outcome, cell in cells.items():
                known = total.get(outcome, self._empty())
                total[outcome] = [sum(pair) for pair in zip(known, cell, strict=True)]
        return total

    def describe(self) -> Iterator[Metric]:
        """The metrics without values."""
        yield CounterMetricFamily(
            f"{self._name}s", f"{self._what}, by outcome.", labels=["outcome"]
        )
        yield HistogramMetricFamily(f"{self._name}_seconds", f"{self._what}: how long each took.")

    def collect(self) -> Iterator[Metric]:
        """Both metrics."""
        total = self.total()
        counter, histogram = self.describe()
        assert isinstance(counter, CounterMetricFamily)  # noqa: S101 - as made above
        assert isinstance(histogram, HistogramMetricFamily)  # noqa: S101
        for outcome, cell in total.items():
            counter.add_metric([outcome], sum(cell[:-1]))
        *counts, seconds = map(sum, zip(self._empty(), *total.values(), strict=True))
        histogram.add_metric([], list(self._buckets(counts)), seconds)
        yield counter
        yield histogram

    def _buckets(self, counts: Sequence[float]) -> Iterator[tuple[str, float]]:
        """Prometheus's cumulative buckets."""
        below = 0.0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
            below += count
            yield bound, below

    def _empty(self) -> Cell:
        return [0.0] * (len(self._bounds) + 2)

    def _new_cell(self, outcome: str) -> Cell:
        with self._mutex:
            if not hasattr(self._own, "cells"):
                self._own.cells = {}
                self._cells.append(self._own.cells)
            cell: Cell = self._own.cells.setdefault(outcome, self._empty())
            return cell


class LoopCounter(Collector):
    """A counter with one label of known values, for use in the event loop's thread only."""

    def __init__(
        self, name: str, what: str, label: str, values: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._name, self._what, self._label = name, what, label
        self.counts = dict.fromkeys(values, 0)
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """The metric without values."""
        yield CounterMetricFamily(self._name, f"{self._what}.", labels=[self._label])

    def collect(self) -> Iterator[Metric]:
        """The metric."""
        counter = CounterMetricFamily(self._name, f"{self._what}.", labels=[self._label])
        for value, count in self.counts.items():
            counter.add_metric([value], count)
        yield counter
