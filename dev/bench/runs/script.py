"""The bid script's cost with few and with many bidders, from Redis's own statistics."""

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import count
from uuid import UUID

from redis import Redis

from core.bidding.placing import Bidder
from core.bootstrap import Services, bootstrap
from core.redis import keys
from dev.bench.data.fill import fill_board
from dev.bench.measures import Figures
from dev.bench.options import Options
from dev.bench.runs.runs import Runs
from dev.bench.servers.stack import BenchServers, close, open_session
from dev.embedded import RedisServer

FEW_BIDDERS = 1000


class ScriptRuns(Runs):
    """Places random members' bids alternately in a small and in a large session.

    Uses a separate server, so that a million bidders slow nothing else down.
    """

    def __init__(self, servers: BenchServers, figures: Figures, options: Options) -> None:
        super().__init__(servers, figures, options)
        self._random = random.Random(1)  # noqa: S311 - simulated bidders
        self._prices = rising_prices()

    def run(self) -> None:
        with separate_redis(self._servers, "redis-script") as (_, services):
            self._measure(services)

    def _measure(self, services: Services) -> None:
        sizes = {
            "script µs, 1,000 bidders": FEW_BIDDERS,
            "script µs, many bidders": self._options.many_bidders,
        }
        sessions = {
            name: (filled_session(services, bidders), bidders) for name, bidders in sizes.items()
        }
        services.redis.config_set("appendfsync", "always")
        self._round(services, sessions)  # to warm up
        for number in range(1, self._options.rounds + 1):
            costs = self._round(services, sessions)
            for name, cost in costs.items():
                self._figures.add(name, cost)
            text = ", ".join(f"{cost:.1f} {name}" for name, cost in costs.items())
            print(f"  script, round {number} of {self._options.rounds}: {text}", flush=True)

    def _round(
        self, services: Services, sessions: Mapping[str, tuple[UUID, int]]
    ) -> dict[str, float]:
        return {
            name: self._cost(services, session_id, bidders)
            for name, (session_id, bidders) in sessions.items()
        }

    def _cost(self, services: Services, session_id: UUID, bidders: int) -> float:
        """Microseconds per call; each call replaces a random member's bid."""
        # Loads missing keys, so that every counted call is an accepted bid.
        self._bid(services, session_id, bidders)
        services.redis.xtrim(keys.bid_log(session_id), maxlen=0, approximate=False)
        services.redis.config_resetstat()
        for _ in range(self._options.script_calls):
            self._bid(services, session_id, bidders)
        calls, cost = evalsha_statistics(services.redis)
        self._figures.check(
            calls == self._options.script_calls,
            f"script: {calls} calls for {self._options.script_calls} bids",
        )
        return cost

    def _bid(self, services: Services, session_id: UUID, bidders: int) -> None:
        number = self._random.randint(1, bidders)
        services.bidding.place(
            Bidder(bidder_id(number), "bench-member", "bench-token"),
            session_id,
            next(self._prices),
            schedule_drain=lambda _: None,
        )


@contextmanager
def separate_redis(servers: BenchServers, name: str) -> Iterator[tuple[RedisServer, Services]]:
    """A separate Redis, and core's services connected to it."""
    server = RedisServer(servers.folder / name)
    with server.running():
        services = bootstrap(replace(servers.settings, redis_port=server.port()))
        try:
            yield server, services
        finally:
            close(services)


def filled_session(services: Services, bidders: int) -> UUID:
    """An open session with synthetic bidders. Leaves appendfsync off."""
    print(f"  script: filling a session with {bidders:,} bidders", flush=True)
    # Synthetic bids need not be durable.
    services.redis.config_set("appendfsync", "no")
    services.redis.config_set("auto-aof-rewrite-percentage", 0)
    session_id = open_session(services)
    fill_board(services.redis, session_id, bidders=bidders)
    return session_id


def bidder_id(number: int) -> UUID:
    """The id that fill_board.lua assigns to the bidder of this sequence."""
    return UUID(hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest()[:32])


def rising_prices() -> Iterator[Decimal]:
    """Prices above all that fill_board.lua makes, each a cent higher: every bid is accepted."""
    return (Decimal(cents) / 100 for cents in count(20_000_000))


def evalsha_statistics(redis: Redis) -> tuple[int, float]:
    """Script calls since the last reset, and microseconds per call."""
    info = redis.info("commandstats")
    assert isinstance(info, dict)  # noqa: S101 - the client is not asynchronous
    statistics = info["cmdstat_evalsha"]
    return int(statistics["calls"]), float(statistics["usec_per_call"])
