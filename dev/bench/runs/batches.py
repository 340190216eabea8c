"""Redis cost per bid for script calls of one bid, a few bids and a full batch."""

import random
from decimal import Decimal
from typing import Any
from uuid import UUID

import psutil
from msgspec import msgpack

from core.bidding.placing import MAX_BATCH_BIDS, Bidder
from core.bootstrap import Services
from core.redis import keys, scripts
from dev.bench.cpu import CpuMeter
from dev.bench.measures import Figures
from dev.bench.options import Options
from dev.bench.runs.runs import Runs
from dev.bench.runs.script import (
    FEW_BIDDERS,
    bidder_id,
    evalsha_statistics,
    filled_session,
    rising_prices,
    separate_redis,
)
from dev.bench.servers.stack import BenchServers

SIZES = (1, 8, MAX_BATCH_BIDS)
# No rate limit and no drain, as there is no worker.
_LIMITS = (0, 20, 10**15)
_HEADINGS = ("bids per call", "commands/bid", "script µs/bid", "Redis CPU µs/bid")


class BatchRuns(Runs):
    """Calls place_bids.lua directly and sequentially, on a separate server."""

    def __init__(self, servers: BenchServers, figures: Figures, options: Options) -> None:
        super().__init__(servers, figures, options)
        self._random = random.Random(1)  # noqa: S311 - simulated bidders
        self._prices = rising_prices()

    def run(self) -> None:
        with separate_redis(self._servers, "redis-batches") as (server, services):
            process = server.process()
            assert process is not None  # noqa: S101 - it answers
            session_id = filled_session(services, FEW_BIDDERS)
            _load(services, session_id, next(self._prices))
            services.redis.config_set("appendfsync", "always")
            for _ in range(self._options.rounds):
                for size in SIZES:
                    self._round(services, process, session_id, size)
        self._show()

    def _round(
        self, services: Services, process: psutil.Process, session_id: UUID, size: int
    ) -> None:
        """Place the bids of one round in calls of one size."""
        redis, calls = services.redis, max(1, self._options.script_calls // size)
        bids = calls * size
        redis.xtrim(keys.bid_log(session_id), maxlen=0, approximate=False)
        redis.config_resetstat()
        meter = CpuMeter({"redis": process})
        accepted = sum(self._call(services, session_id, size) for _ in range(calls))
        cpu = meter.seconds()["redis"]
        _, call_us = evalsha_statistics(redis)
        costs = (_commands(redis), call_us * calls, 1e6 * cpu)
        for heading, cost in zip(_HEADINGS[1:], costs, strict=True):
            self._figures.add(_series(heading, size), cost / bids)
        self._figures.check(
            accepted == bids, f"batches of {size}: {accepted} of {bids} bids were accepted"
        )

    def _call(self, services: Services, session_id: UUID, size: int) -> int:
        """Place `size` bids in one call; returns how many were accepted."""
        members = [
            str(bidder_id(number))
            for number in self._random.sample(range(1, FEW_BIDDERS + 1), size)
        ]
        standing = keys.standing_bid_prefix(session_id)
        bids = [
            (member, "bench-member", str(next(self._prices)), "bench-token", "1.25")
            for member in members
        ]
        _, *replies = scripts.place_bids(
            services.redis,
            [
                *(keys.session_params(session_id), keys.ranking(session_id)),
                *(keys.bid_log(session_id), services.revocations.key_for_script(session_id)),
                *[standing + member for member in members],
                *services.weights.keys_for_script(members),
            ],
            [*_LIMITS, keys.standing_prices(session_id), msgpack.encode(bids)],
        )
        return sum(reply[0] in _ACCEPTED for reply in replies)

    def _show(self) -> None:
        print("  " + "  ".join(f"{heading:>16}" for heading in _HEADINGS))
        for size in SIZES:
            costs = [self._figures.median(_series(heading, size)) for heading in _HEADINGS[1:]]
            print(f"  {size:>16}  " + "  ".join(f"{cost:>16.1f}" for cost in costs), flush=True)


_ACCEPTED = (scripts.Outcome.ACCEPTED, scripts.Outcome.REPLAYED)


def _series(heading: str, size: int) -> str:
    return f"{heading}, batches of {size}"


def _load(services: Services, session_id: UUID, price: Decimal) -> None:
    """Place one bid the usual way, which loads missing keys."""
    bidder = Bidder(bidder_id(1), "bench-member", "bench-token")
    services.bidding.place(bidder, session_id, price, schedule_drain=lambda _: None)


def _commands(redis: Any) -> int:
    """Commands since the last reset, including those of scripts."""
    statistics = redis.info("commandstats")
    return sum(int(each["calls"]) for name, each in statistics.items() if name not in _IGNORED)


_IGNORED = ("cmdstat_config|resetstat", "cmdstat_info")
