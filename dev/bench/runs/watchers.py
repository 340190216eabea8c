"""Bids/s with and without watchers, the frame lag, and memory per watcher."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from tempfile import mkdtemp

from sqlalchemy import select

from core.postgres.models import Bid
from dev.bench.generators.generators import Sockets
from dev.bench.runs.http import TRICKLE_CONNECTIONS, TRICKLE_PER_SECOND, BenchSale, HttpRuns
from dev.bench.servers.stack import Program, python
from dev.children import LOOPBACK
from dev.embedded.server import wait_until
from loadtest.ledger import lags
from loadtest.ledger.ledger import LedgerContents, LedgerTail

GATHER_TIMEOUT_SECONDS = 60.0
# Well below a generator's timeout of a minute.
MAX_LOAD_SECONDS = 20.0
KIB = 1024


class WatcherProcess:
    """A separate process of watchers, and the ledger of the frames they see."""

    def __init__(self, program: Program, folder: Path, size: int) -> None:
        self._program, self._size = program, size
        self._tail = LedgerTail(folder)
        self.recorded = LedgerContents()

    def await_connected(self) -> bool:
        """Wait until all watchers are connected; False when they are not in time."""

        def all_connected() -> bool:
            crowd = self._tail.read().crowd
            return bool(crowd) and crowd[-1]["watching"] == self._size

        return wait_until(all_connected, GATHER_TIMEOUT_SECONDS)

    def stop(self) -> None:
        """Stop the watchers and read their ledger."""
        self._program.stop()
        self.recorded = self._tail.read()

    def lag(self, accepted: Sequence[float]) -> lags.Lag:
        """The frame lag of these bids; `accepted` is ascending."""
        return lags.total(self.recorded.seen, accepted)

    @property
    def lost(self) -> int:
        """Number of connections that ended unexpectedly."""
        return round(sum(sample["lost"] for sample in self.recorded.crowd))


class WatchRuns(HttpRuns):
    """Compares bids with and without watchers."""

    def watchers(self) -> None:
        """Rounds at saturation, then a longer run with few bids."""
        sale = self._open_sale()
        self._warm_up((sale, self._stack.web_port))
        for number in range(1, self._options.rounds + 1):
            alone = self._watch_round(sale, "bids/s, unwatched")
            before = self._web_bytes()
            with self._crowd(sale, self._stack.web_port) as crowd:
                watched = self._watch_round(sale, "bids/s, watched")
                self._note_memory(self._web_bytes() - before)
            lag = self._note_lag(sale, crowd, "frame lag p99 ms")
            rates = f"{watched:,.0f} bids/s watched, {alone:,.0f} unwatched"
            self._say("watchers", number, f"{rates}, frame lag {lag}")
        self._watch_few_bids(sale)

    def _watch_round(self, sale: BenchSale, series: str) -> float:
        before = sale.sequence()
        load = self._run(self._bid_plan(sale), series)
        self._reconcile(sale, before, load)
        self._figures.add(series, load.per_second)
        return load.per_second

    def _watch_few_bids(self, sale: BenchSale) -> None:
        """Watch few bids, long enough for pings and time-outs to drop connections."""
        seconds = self._options.watch_seconds
        loads = ceil(seconds / MAX_LOAD_SECONDS)
        with self._crowd(sale, self._stack.web_port) as crowd:
            for _ in range(loads):
                self._few_bids(sale, seconds / loads)
        lag = self._note_lag(sale, crowd, "frame lag p99 ms, few bids")
        kib = self._figures.median("KiB a watcher")
        print(
            f"  watchers, {seconds:g} s at {TRICKLE_PER_SECOND:g} bids/s: frame lag {lag}, "
            f"{crowd.lost} lost, {kib:.0f} KiB each",
            flush=True,
        )

    def _few_bids(self, sale: BenchSale, seconds: float) -> None:
        before = sale.sequence()
        plan = self._bid_plan(
            sale,
            rate=TRICKLE_PER_SECOND,
            connections=TRICKLE_CONNECTIONS,
            longer=seconds - self._options.seconds,
        )
        load = self._finish(Sockets(1), plan, "bids with watchers")
        self._reconcile(sale, before, load)

    def _web_bytes(self) -> int:
        """Resident memory of the web processes."""
        return sum(child.memory_info().rss for child in self._stack.web.process.children())

    def _note_memory(self, grown: int) -> None:
        # Later watchers reuse memory that the first ones allocated.
        if "KiB a watcher" not in self._figures.series:
            self._figures.add("KiB a watcher", grown / KIB / self._options.watchers)

    @contextmanager
    def _crowd(self, sale: BenchSale, port: int) -> Iterator[WatcherProcess]:
        """Keep all watchers connected during the block."""
        size = self._options.watchers
        folder = Path(mkdtemp(prefix="watchers-", dir=self._servers.folder))
        host = f"http://{LOOPBACK}:{port}"
        command = python(
            *("loadtest", "watch", "--host", host, "--session", str(sale.session_ids[0])),
            *("--watchers", str(size), "--ledger", str(folder)),
        )
        program = Program("crowd", command, self._servers.environ, folder)
        crowd = WatcherProcess(program, folder, size)
        with program.running():
            self._figures.check(crowd.await_connected(), f"not all {size} watchers connected")
            yield crowd
            crowd.stop()
        self._figures.check(crowd.lost == 0, f"{crowd.lost} watchers were lost")

    def _note_lag(self, sale: BenchSale, crowd: WatcherProcess, series: str) -> str:
        lag = crowd.lag(_moments(sale))
        self._figures.check(lag.count > 0, f"{series}: no frame showed a bid")
        self._figures.add(series, lag.p99)
        return f"p50 {lag.p50:.0f} ms, p99 {lag.p99:.0f} ms, slowest {lag.slowest:.0f} ms"


def _moments(sale: BenchSale) -> list[float]:
    """Acceptance times of all bids, in seconds since 1970, ascending."""
    accepted_at = select(Bid.accepted_at).where(Bid.session_id == sale.session_ids[0])
    with sale.services.database.begin() as db:
        return [moment.timestamp() for moment in db.scalars(accepted_at.order_by(Bid.sequence))]
