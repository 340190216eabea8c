"""What a bid costs Redis in script calls of one, of a few and of as many as a call may have."""

import random
from decimal import Decimal
from typing import Any
from uuid import UUID

import psutil
from msgspec import msgpack

from core.bidding.placing import MAX_BATCH_BIDS, Bidder
from core.bootstrap import Services
from core.redis import keys, scripts
from dev.bench.cpu import Meter
from dev.bench.measures import Figures
from dev.bench.options import Options
from dev.bench.runs.runs import Runs
from dev.bench.runs.script import (
    FEW_BIDDERS,
    a_price,
    bidder_id,
    evalsha_statistics,
    filled_session,
    server_of_its_own,
)
from dev.bench.servers.stack import Servers

SIZES = (1, 8, MAX_BATCH_BIDS)
# No limit of members' rate, and no drain: there is no worker here.
_LIMITS = (0, 20, 10**15)
_HEADINGS = ("bids a call", "commands/bid", "script µs/bid", "Redis CPU µs/bid")


class BatchRuns(Runs):
    """Calls place_bids.lua itself, one call after the other, on a server of its own."""

    def __init__(self, servers: Servers, figures: Figures, options: Options) -> None:
        super().__init__(servers, figures, options)
        self._random = random.Random(1)  # noqa: S311 - simulated bidders

    def run(self) -> None:
        with server_of_its_own(self._servers, "redis-batches") as (server, services):
            process = server.process()
            assert process is not None  # noqa: S101 - it answers
            session_id = filled_session(services, FEW_BIDDERS)
            _load(services, session_id)
            services.redis.config_set("appendfsync", "always")
            for _ in range(self._options.rounds):
                for size in SIZES:
                    self._round(services, process, session_id, size)
        self._show()

    def _round(
        self, services: Services, process: psutil.Process, session_id: UUID, size: int
    ) -> None:
        """So many bids, in calls of one size."""
        redis, calls = services.redis, max(1, self._options.script_calls // size)
        bids = calls * size
        redis.xtrim(keys.bid_log(session_id), maxlen=0, approximate=False)
        redis.config_resetstat()
        meter = Meter({"redis": process})
        accepted = sum(self._call(services, session_id, size) for _ in range(calls))
        cpu = meter.seconds()["redis"]
        _, call_us = evalsha_statistics(redis)
        costs = (_commands(redis), call_us * calls, 1e6 * cpu)
        for heading, cost in zip(_HEADINGS[1:], costs, strict=True):
            self._figures.add(_series(heading, size), cost / bids)
        # A price that a member repeats is a replay: that happens once in a million bids.
        self._figures.check(
            accepted == bids, f"batches of {size}: {accepted} of {bids} bids were taken"
        )

    def _call(self, services: Services, session_id: UUID, size: int) -> int:
        """How many of the bids of one call were taken."""
        members = [
            str(bidder_id(number))
            for number in self._random.sample(range(1, FEW_BIDDERS + 1), size)
        ]
        standing = keys.standing_bid_prefix(session_id)
        bids = [
            (member, "bench-member", str(a_price(self._random)), "bench-token", "1.25")
            for member in members
        ]
        _, *replies = scripts.place_bids(
            services.redis,
            [
                *(keys.session_params(session_id), keys.ranking(session_id)),
                *(keys.bid_log(session_id), services.revocations.key_beside(session_id)),
                *[standing + member for member in members],
                *services.weights.keys_beside(members),
            ],
            [*_LIMITS, msgpack.encode(bids)],
        )
        return sum(reply[0] in _TAKEN for reply in replies)

    def _show(self) -> None:
        print("  " + "  ".join(f"{heading:>16}" for heading in _HEADINGS))
        for size in SIZES:
            costs = [self._figures.median(_series(heading, size)) for heading in _HEADINGS[1:]]
            print(f"  {size:>16}  " + "  ".join(f"{cost:>16.1f}" for cost in costs), flush=True)


_TAKEN = (scripts.Outcome.ACCEPTED, scripts.Outcome.REPLAYED)


def _series(heading: str, size: int) -> str:
    return f"{heading}, batches of {size}"


def _load(services: Services, session_id: UUID) -> None:
    """A bid by the usual way loads what is not there yet."""
    bidder = Bidder(bidder_id(1), "bench-member", "bench-token")
    price = Decimal(150)
    services.bidding.place(bidder, session_id, price, schedule_drain=lambda _: None)


def _commands(redis: Any) -> int:
    """Commands since the last reset, those of scripts included."""
    statistics = redis.info("commandstats")
    return sum(int(each["calls"]) for name, each in statistics.items() if name not in _OURS)


_OURS = ("cmdstat_config|resetstat", "cmdstat_info")
