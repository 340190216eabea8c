"""Compares this checkout with another: bids/s, latency, and bids/s with watchers."""

from collections.abc import Callable, Sequence

from dev.bench.generators.generators import Generator, Load, Sockets
from dev.bench.generators.sockets import Plan
from dev.bench.runs.http import PERSIST_TIMEOUT_SECONDS, BenchSale, percentile
from dev.bench.runs.watchers import WatchRuns
from dev.bench.servers import baseline
from dev.embedded.server import wait_until

Side = tuple[str, BenchSale, int]


class BaselineRuns(WatchRuns):
    """Uses only HTTP and the rows of `bids` of both sides."""

    def baseline(self) -> None:
        """Run all three comparisons."""
        options = self._options
        assert options.baseline is not None  # noqa: S101 - guaranteed by the option parser
        folder = self._servers.folder / "baseline"
        with baseline.running(options.baseline, folder, options.members, options.watchers) as other:
            sale = BenchSale(other.servers.services, (other.session_id,), other.tokens_path)
            sides = (
                ("this", self._open_sale(), self._stack.web_port),
                ("baseline", sale, other.port),
            )
            for side in sides:
                for _ in range(options.warm_ups):
                    self._counted(self._generator, side, self._plan(side))
            self._in_turns("bids/s", sides, self._saturated)
            rate = self._figures.median("bids/s, baseline") / 2
            self._in_turns("p99 ms", sides, lambda side: self._p99(side, rate))
            self._in_turns("bids/s, watched", sides, self._watched)

    def _in_turns(self, name: str, sides: Sequence[Side], measure: Callable[[Side], float]) -> None:
        for number in range(1, self._options.rounds + 1):
            found = [f"{side[0]} {measure(side):,.1f}" for side in sides]
            self._say(f"baseline, {name}", number, ", ".join(found))

    def _saturated(self, side: Side) -> float:
        load = self._counted(self._generator, side, self._plan(side))
        return self._note(f"bids/s, {side[0]}", load.per_second)

    def _p99(self, side: Side, rate: float) -> float:
        load = self._counted(Sockets(1), side, self._plan(side, rate))
        return self._note(f"p99 ms, {side[0]}", percentile(load.latencies_ms, 0.99))

    def _watched(self, side: Side) -> float:
        name, sale, port = side
        with self._crowd(sale, port) as crowd:
            load = self._counted(self._generator, side, self._plan(side))
        self._note_lag(sale, crowd, f"frame lag p99 ms, {name}")
        return self._note(f"bids/s, {name}, watched", load.per_second)

    def _plan(self, side: Side, rate: float | None = None) -> Plan:
        return self._bid_plan(side[1], rate=rate, port=side[2])

    def _note(self, series: str, figure: float) -> float:
        self._figures.add(series, figure)
        return figure

    def _counted(self, generator: Generator, side: Side, plan: Plan) -> Load:
        """Run a load and check that every accepted bid becomes a row."""
        name, sale, _ = side
        before = sale.rows()
        load = self._finish(generator, plan, f"bids, {name}")
        wait_until(lambda: sale.rows() >= before + load.answered, PERSIST_TIMEOUT_SECONDS)
        rows = sale.rows() - before
        self._figures.check(
            rows == load.answered,
            f"{name}: {load.answered} bids were answered 200, but {rows} rows were added",
        )
        return load
