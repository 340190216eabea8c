"""What a sale needs, from measured costs. The constants stand here and nowhere else.

Measured on two cores of a cloud machine (docs/benchmark.md says how to repeat it), with
everything on them at once: the load's generator, web, Redis, workers and PostgreSQL.
"""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Constant:
    """One measured number: what it says, its unit, and how it was measured."""

    value: float
    unit: str
    meaning: str
    measured: str


WEB_CPU = Constant(
    160,
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
    18, "µs", "worker CPU a bid", "make bench: CPU time of the workers over rows written"
)
DRAIN_RATE = Constant(
    48_000, "rows/s", "drained by one worker process", "make bench: a log of 50,000 bids, COPY"
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
CONSTANTS = (
    WEB_CPU,
    CLUSTER_WEB_CPU,
    REDIS_CPU,
    WORKER_CPU,
    DRAIN_RATE,
    BIDDER_MEMORY,
    WEIGHT_MEMORY,
    BID_MEMORY,
)

# How busy a core may be planned: the rest is for what nobody foresaw.
PLANNED_LOAD = 0.7
# Redis needs room for the copy-on-write of a rewrite of its file, and for fragments.
MEMORY_FACTOR = 2.0
# Bids wait so long for the drain that gathers them (DRAIN_GATHER_MS), and as long for its end.
GATHER_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Sale:
    """What is expected. `peak_rate` is in bids a second over all sessions."""

    bidders: int
    peak_rate: float
    sessions: int
    peak_seconds: float
    outage_seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What the sale needs; bytes are of Redis, over all its masters."""

    web_processes: int
    redis_masters: int
    # Bids a second that one session can take at most, for it cannot be spread.
    session_rate_limit: float
    session_rate: float
    worker_processes: int
    backlog_bids: int
    outage_backlog_bids: int
    redis_bytes: int

    @property
    def fits(self) -> bool:
        """Whether no session gets more bids than one Redis takes."""
        return self.session_rate <= self.session_rate_limit


def plan(sale: Sale) -> Plan:
    """The smallest system that the constants allow for the sale."""
    rate_of_one_redis = PLANNED_LOAD / seconds(REDIS_CPU)
    masters = ceil(sale.peak_rate / rate_of_one_redis)
    web_cpu = WEB_CPU if masters == 1 else CLUSTER_WEB_CPU
    outage_backlog = ceil(sale.peak_rate * sale.outage_seconds)
    memory = sale.bidders * (BIDDER_MEMORY.value + WEIGHT_MEMORY.value)
    memory += outage_backlog * BID_MEMORY.value
    return Plan(
        web_processes=ceil(sale.peak_rate * seconds(web_cpu) / PLANNED_LOAD),
        redis_masters=masters,
        session_rate_limit=rate_of_one_redis,
        session_rate=sale.peak_rate / sale.sessions,
        worker_processes=ceil(sale.peak_rate / (DRAIN_RATE.value * PLANNED_LOAD)),
        backlog_bids=_backlog(sale),
        outage_backlog_bids=outage_backlog,
        redis_bytes=ceil(memory * MEMORY_FACTOR),
    )


def seconds(cost: Constant) -> float:
    """A cost in microseconds, in seconds."""
    return cost.value / 1_000_000


def _backlog(sale: Sale) -> int:
    """Bids waiting at the end of the peak: one session is drained by one process at a time."""
    rate = sale.peak_rate / sale.sessions
    behind = max(0.0, rate - DRAIN_RATE.value * PLANNED_LOAD) * sale.peak_seconds
    return ceil((behind + rate * GATHER_SECONDS) * sale.sessions)
