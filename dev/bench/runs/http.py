"""HTTP runs: bids, the board, and the reference applications."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psutil
from sqlalchemy import func, select

from core.bootstrap import Services
from core.postgres.models import Bid, BidLogOffset
from core.redis import keys
from dev.bench.cpu import CpuMeter
from dev.bench.generators.generators import Generator, Load, Sockets, run
from dev.bench.generators.sockets import Plan
from dev.bench.measures import Figures
from dev.bench.options import Options
from dev.bench.servers.stack import (
    BenchServers,
    HttpStack,
    Program,
    open_session,
    seed_tokens,
)
from dev.children import LOOPBACK
from dev.embedded.server import wait_until

CONNECTIONS = 128
# More than the pending responses at a fixed rate, so that a connection is always free.
FIXED_RATE_CONNECTIONS = 256
TRICKLE_PER_SECOND = 200.0
# Enough that a slow response delays no bid.
TRICKLE_CONNECTIONS = 32
PERSIST_TIMEOUT_SECONDS = 60.0
# A drain logs its result a moment after its commit.
LOG_SETTLES_SECONDS = 0.3
# Equally long prices make equally long bodies.
FIRST_CENTS = 1_000_000_000
CENTS_PER_RUN = 10_000_000


@dataclass(slots=True)
class BenchSale:
    """Sessions that receive bids in turn, and the next unused price."""

    services: Services
    session_ids: tuple[UUID, ...]
    tokens_path: Path
    next_cents: int = field(default=FIRST_CENTS)

    def take_prices(self) -> int:
        first = self.next_cents
        self.next_cents += CENTS_PER_RUN
        return first

    def sequence(self) -> int:
        """Number of bids accepted by Redis."""
        return sum(
            int(str(self.services.redis.hget(keys.session_params(each), "sequence") or 0))
            for each in self.session_ids
        )

    def persisted(self) -> int:
        with self.services.database.begin() as db:
            return (
                db.scalar(
                    select(func.sum(BidLogOffset.persisted_sequence)).where(
                        BidLogOffset.session_id.in_(self.session_ids)
                    )
                )
                or 0
            )

    def rows(self) -> int:
        with self.services.database.begin() as db:
            return (
                db.scalar(
                    select(func.count())
                    .select_from(Bid)
                    .where(Bid.session_id.in_(self.session_ids))
                )
                or 0
            )


class HttpRuns:
    """Runs loads against the stack and records the figures."""

    def __init__(
        self,
        servers: BenchServers,
        stack: HttpStack,
        generator: Generator,
        figures: Figures,
        options: Options,
    ) -> None:
        self._servers = servers
        self._stack = stack
        self._generator = generator
        self._figures = figures
        self._options = options
        self._tokens_path = seed_tokens(servers, options.members)

    def bids(self) -> None:
        """Bids at saturation and the reference applications, with drain jobs and CPU time."""
        sale = self._open_sale()
        self._warm_up((sale, self._stack.web_port))
        self._warm_up_references()
        for number in range(1, self._options.rounds + 1):
            bids = self._bid_round(sale)
            echo, asgi_echo = self._echo("echo/s"), self._asgi_echo()
            self._say(
                "bids",
                number,
                f"{bids.per_second:,.0f} bids/s, {echo:,.0f} echo/s, {asgi_echo:,.0f} ASGI echo/s",
            )

    def fsync(self) -> None:
        """Bids with appendfsync always and everysec."""
        sale = self._open_sale()
        self._warm_up((sale, self._stack.web_port))
        for number in range(1, self._options.rounds + 1):
            found = [self._fsync_round(sale, policy) for policy in ("always", "everysec")]
            self._say("fsync", number, f"always {found[0]:,.0f}, everysec {found[1]:,.0f} bids/s")

    def board(self) -> None:
        """The board's first page at saturation, during a trickle of bids."""
        sale = self._open_sale()
        self._warm_up((sale, self._stack.web_port))
        self._warm_up_references()
        for number in range(1, self._options.rounds + 1):
            with self._trickle(sale):
                load = self._run(self._board_plan(sale), "boards")
            self._figures.add("boards/s", load.per_second)
            echo = self._echo("echo/s beside boards")
            self._say("board", number, f"{load.per_second:,.0f} boards/s, {echo:,.0f} echo/s")

    def latency(self) -> None:
        """Latency of bids sent on a schedule, at half of saturation."""
        sale = self._open_sale()
        self._warm_up((sale, self._stack.web_port))
        rate = self._figures.median("bids/s") / 2
        for number in range(1, self._options.rounds + 1):
            before = sale.sequence()
            load = self._finish(Sockets(1), self._bid_plan(sale, rate=rate), "bids at a fixed rate")
            self._reconcile(sale, before, load)
            for name, share in (("bid p50 ms", 0.5), ("bid p99 ms", 0.99)):
                self._figures.add(name, percentile(load.latencies_ms, share))
            p99 = self._figures.series["bid p99 ms"][-1]
            self._say("latency", number, f"p99 {p99:.1f} ms at {rate:,.0f} bids/s")

    def _bid_round(self, sale: BenchSale) -> Load:
        jobs_before, before = self._jobs(), sale.sequence()
        meter = CpuMeter(self._leaders())
        load = self._run(self._bid_plan(sale), "bids")
        self._reconcile(sale, before, load)
        self._note_cpu("bid", meter, load.answered)
        self._figures.add("bids/s", load.per_second)
        self._figures.add("drain jobs", self._jobs() - jobs_before)
        self._figures.add("thousand bids", load.answered / 1000)
        return load

    def _fsync_round(self, sale: BenchSale, policy: str) -> float:
        redis = self._servers.services.redis
        redis.config_set("appendfsync", policy)
        try:
            before = sale.sequence()
            load = self._run(self._bid_plan(sale), f"bids, appendfsync {policy}")
            self._reconcile(sale, before, load)
        finally:
            redis.config_set("appendfsync", "always")
        self._figures.add(f"bids/s, {policy}", load.per_second)
        return load.per_second

    def _echo(self, series: str) -> float:
        """Echoes/s of the bare Flask application, the first reference."""
        return self._reference_rate(series, "echo", self._stack.echo, self._stack.echo_port)

    def _asgi_echo(self) -> float:
        """Echoes/s of the bare ASGI application, the second reference."""
        program, port = self._stack.asgi_echo, self._stack.asgi_echo_port
        return self._reference_rate("asgi echo/s", "asgi echo", program, port)

    def _reference_rate(self, series: str, name: str, program: Program, port: int) -> float:
        meter = CpuMeter({name: program.process})
        load = self._run(self._echo_plan(port), name)
        self._note_cpu("echo", meter, load.answered)
        self._figures.add(series, load.per_second)
        return load.per_second

    @contextmanager
    def _trickle(self, sale: BenchSale) -> Iterator[None]:
        """A steady trickle of bids, so that the board keeps changing."""
        before = sale.sequence()
        plan = self._bid_plan(
            sale, rate=TRICKLE_PER_SECOND, connections=TRICKLE_CONNECTIONS, longer=1.0
        )
        running = Sockets(1).start(plan)
        try:
            yield
            load = running.finish()
        finally:
            running.kill()
        self._check_answers(load, "trickle of bids")
        self._reconcile(sale, before, load)

    def _warm_up(self, *sides: tuple[BenchSale, int]) -> None:
        """Bring the applications and token caches to their steady state."""
        for sale, port in sides:
            for _ in range(self._options.warm_ups):
                run(self._generator, self._bid_plan(sale, port=port))
        for sale, _ in sides:
            self._await_persisted(sale)

    def _warm_up_references(self) -> None:
        for port in (self._stack.echo_port, self._stack.asgi_echo_port):
            run(self._generator, self._echo_plan(port))

    def _open_sale(self) -> BenchSale:
        services = self._servers.services
        return BenchSale(services, (open_session(services),), self._tokens_path)

    def _bid_plan(
        self,
        sale: BenchSale,
        *,
        rate: float | None = None,
        connections: int | None = None,
        longer: float = 0.0,
        port: int | None = None,
    ) -> Plan:
        return Plan(
            host=LOOPBACK,
            port=port or self._stack.web_port,
            method="POST",
            path="/api/bid",
            connections=connections or (CONNECTIONS if rate is None else FIXED_RATE_CONNECTIONS),
            seconds=self._options.seconds + longer,
            rate=rate,
            tokens_path=str(sale.tokens_path),
            session_ids=tuple(map(str, sale.session_ids)),
            first_cents=sale.take_prices(),
        )

    def _echo_plan(self, port: int) -> Plan:
        """A bid's request, sent to a reference application."""
        return Plan(
            host=LOOPBACK,
            port=port,
            method="POST",
            path="/echo",
            connections=CONNECTIONS,
            seconds=self._options.seconds,
            tokens_path=str(self._tokens_path),
            session_ids=(str(UUID(int=0)),),
            first_cents=FIRST_CENTS,
        )

    def _board_plan(self, sale: BenchSale) -> Plan:
        return Plan(
            host=LOOPBACK,
            port=self._stack.web_port,
            method="GET",
            path=f"/api/leaderboard/{sale.session_ids[0]}",
            connections=CONNECTIONS,
            seconds=self._options.seconds,
        )

    def _run(self, plan: Plan, label: str) -> Load:
        return self._finish(self._generator, plan, label)

    def _finish(self, generator: Generator, plan: Plan, label: str) -> Load:
        load = run(generator, plan)
        self._check_answers(load, label)
        return load

    def _check_answers(self, load: Load, label: str) -> None:
        self._figures.check(not load.refused, f"{label}: answers other than 200: {load.refused}")
        self._figures.check(not load.broken, f"{label}: {load.broken} connections broke")
        self._figures.check(load.answered > 0, f"{label}: no answer at all")

    def _reconcile(self, sale: BenchSale, before: int, load: Load) -> None:
        """Check that the numbers of accepted, assigned and persisted bids are equal."""
        self._await_persisted(sale)
        sequence, rows = sale.sequence(), sale.rows()
        self._figures.check(
            load.answered == sequence - before,
            f"{load.answered} bids were answered 200, but Redis assigned {sequence - before}",
        )
        self._figures.check(
            rows == sequence, f"Redis assigned {sequence} sequences, but bids has {rows} rows"
        )

    def _await_persisted(self, sale: BenchSale) -> None:
        done = wait_until(lambda: sale.persisted() >= sale.sequence(), PERSIST_TIMEOUT_SECONDS)
        self._figures.check(done, f"the log was not drained in {PERSIST_TIMEOUT_SECONDS:g} s")
        time.sleep(LOG_SETTLES_SECONDS)

    def _jobs(self) -> int:
        return self._stack.worker.count_lines_with("bids_persisted")

    def _leaders(self) -> dict[str, psutil.Process]:
        found = {
            "web": self._stack.web.process,
            "worker": self._stack.worker.process,
            "redis": self._servers.redis.process(),
            "postgres": self._servers.postgres.process(),
        }
        return {name: process for name, process in found.items() if process is not None}

    def _note_cpu(self, unit: str, meter: CpuMeter, count: int) -> None:
        for name, seconds in meter.seconds().items():
            self._figures.add(f"cpu µs/{unit}, {name}", 1e6 * seconds / max(1, count))

    def _say(self, run_name: str, number: int, text: str) -> None:
        print(f"  {run_name}, round {number} of {self._options.rounds}: {text}", flush=True)


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
