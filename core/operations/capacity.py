"""Plans the capacity for a sale from measured costs; all constants are here.

Measured on two cores of a cloud machine that ran everything at once: load generator, web,
Redis, workers and PostgreSQL. docs/explanation/benchmark.md describes how to repeat it.
"""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Constant:
    """One measured cost, and how it was measured."""

    value: float
    unit: str
    meaning: str
    measured: str


WEB_CPU = Constant(
    106,
    "µs",
    "web CPU a bid",
    "make bench, at saturation: CPU time of gunicorn's workers over bids answered",
)
CLUSTER_WEB_CPU = Constant(
    190,
    "µs",
    "web CPU a bid on a cluster",
    "make bench, three masters, at saturation: CPU time of gunicorn's workers over bids answered",
)
REDIS_CPU = Constant(
    45,
    "µs",
    "Redis CPU a bid",
    "make bench, at saturation: CPU time of the server over bids answered; script calls of many "
    "bids, network and fsync",
)
WORKER_CPU = Constant(
    19, "µs", "worker CPU a bid", "make bench: CPU time of the workers over rows written"
)
DRAIN_RATE = Constant(
    31_000, "rows/s", "drained by one worker process", "make bench: a log of 50,000 bids, COPY"
)
BIDDER_MEMORY = Constant(
    530,
    "bytes",
    "of Redis for a bidder in a session",
    "used_memory before and after 50,000 bidders: redis-server 7.0 (Valkey 9: 445)",
)
WEIGHT_MEMORY = Constant(
    139,
    "bytes",
    "of Redis for a member's cached weight",
    "used_memory before and after 50,000 weights: redis-server 7.0 (Valkey 9: 87)",
)
BID_MEMORY = Constant(
    127,
    "bytes",
    "of Redis for a bid not yet drained",
    "MEMORY USAGE of a log of 50,000 bids: redis-server 7.0 (Valkey 9: 112)",
)
APPEND_ONLY_BYTES = Constant(
    1060,
    "bytes",
    "of Redis's append-only file for a bid",
    "aof_current_size before and after 1,000 bids in calls of one: redis-server 7.0 and Valkey 9; "
    "less in calls of many",
)
CONSTANTS = (
    WEB_CPU,
    CLUSTER_WEB_CPU,
    REDIS_CPU,
    WORKER_CPU,
    DRAIN_RATE,
    BIDDER_MEMORY,
    WEIGHT_MEMORY,
    BID_MEMORY,
    APPEND_ONLY_BYTES,
)

# Planned CPU utilisation; the rest is reserve.
PLANNED_UTILISATION = 0.7
# Room for copy-on-write during an AOF rewrite, and for fragmentation.
MEMORY_FACTOR = 2.0
# A bid's time in the log: DRAIN_GATHER_MS until the drain starts, and as long until it ends.
GATHER_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SaleForecast:
    """The expected load. `peak_rate`: bids a second over all sessions."""

    bidders: int
    peak_rate: float
    sessions: int
    peak_seconds: float
    outage_seconds: float


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """The capacity that the sale needs. `redis_bytes`: of memory, over all masters;
    `append_only_bytes`: of disk, for the bids of the peak and the outage.
    """

    web_processes: int
    redis_masters: int
    # Bids a second of one session at most, since it cannot be spread over masters.
    session_rate_limit: float
    session_rate: float
    worker_processes: int
    backlog_bids: int
    outage_backlog_bids: int
    redis_bytes: int
    append_only_bytes: int

    @property
    def fits(self) -> bool:
        """Whether each session's rate is within that of one Redis."""
        return self.session_rate <= self.session_rate_limit


def plan(sale: SaleForecast) -> CapacityPlan:
    """The smallest system that suffices for the sale."""
    rate_of_one_redis = PLANNED_UTILISATION / seconds(REDIS_CPU)
    masters = ceil(sale.peak_rate / rate_of_one_redis)
    web_cpu = WEB_CPU if masters == 1 else CLUSTER_WEB_CPU
    outage_backlog = ceil(sale.peak_rate * sale.outage_seconds)
    memory = sale.bidders * (BIDDER_MEMORY.value + WEIGHT_MEMORY.value)
    bids = sale.peak_rate * (sale.peak_seconds + sale.outage_seconds)
    memory += outage_backlog * BID_MEMORY.value
    return CapacityPlan(
        web_processes=ceil(sale.peak_rate * seconds(web_cpu) / PLANNED_UTILISATION),
        redis_masters=masters,
        session_rate_limit=rate_of_one_redis,
        session_rate=sale.peak_rate / sale.sessions,
        worker_processes=ceil(sale.peak_rate / (DRAIN_RATE.value * PLANNED_UTILISATION)),
        backlog_bids=_backlog(sale),
        outage_backlog_bids=outage_backlog,
        redis_bytes=ceil(memory * MEMORY_FACTOR),
        append_only_bytes=ceil(bids * APPEND_ONLY_BYTES.value),
    )


def seconds(cost: Constant) -> float:
    """A cost in microseconds, in seconds."""
    return cost.value / 1_000_000


def _backlog(sale: SaleForecast) -> int:
    """Bids waiting at the end of the peak; one process at a time drains a session."""
    rate = sale.peak_rate / sale.sessions
    behind = max(0.0, rate - DRAIN_RATE.value * PLANNED_UTILISATION) * sale.peak_seconds
    return ceil((behind + rate * GATHER_SECONDS) * sale.sessions)
