"""Compares two ways of bidding that differ in one thing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psutil

from dev.bench.cpu import CpuMeter
from dev.bench.generators.sockets import Plan
from dev.bench.runs.http import BenchSale, HttpRuns
from dev.bench.servers import nginx
from dev.bench.servers.stack import BID_RATE, SINGLES_CONF, UNWATCHED_CONF, web_variant

# A browser's headers of a POST from a page, besides the four that a bid needs.
BROWSER_HEADERS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: application/json",
    "Accept-Language: en-GB,en;q=0.8,de;q=0.5,fr;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Origin: https://shop.example",
    "Connection: keep-alive",
    "Referer: https://shop.example/sale",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: same-origin",
    "Priority: u=0",
)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: the target, the headers, and processes to meter."""

    name: str
    sale: BenchSale
    port: int
    leaders: Mapping[str, psutil.Process]
    headers: tuple[str, ...] = ()


class CompareRuns(HttpRuns):
    """Series are named after the sides of a comparison."""

    def metrics(self) -> None:
        """Bids with and without metrics, access log and rate limit."""
        with (
            web_variant(self._servers, "watched", **BID_RATE) as (watched, watched_port),
            web_variant(self._servers, "unwatched", config=UNWATCHED_CONF, ACCESS_LOG="off") as (
                bare,
                bare_port,
            ),
        ):
            sale = self._open_sale()
            sides = (
                Side("metered", sale, watched_port, {"web, metered": watched.process}),
                Side("unmetered", sale, bare_port, {"web, unmetered": bare.process}),
            )
            self._compare("metrics", sides)

    def headers(self) -> None:
        """Bids with a browser's headers, and with the four required ones."""
        sale, port, web = self._open_sale(), self._stack.web_port, self._stack.web.process
        sides = (
            Side("browser's headers", sale, port, {"web, browser": web}, BROWSER_HEADERS),
            Side("few headers", sale, port, {"web, few headers": web}),
        )
        self._compare("headers", sides)

    def batches(self) -> None:
        """Redis's CPU time for bids in shared script calls and in single calls."""
        redis = self._servers.redis.process()
        assert redis is not None  # noqa: S101 - it answers
        with web_variant(self._servers, "singles", config=SINGLES_CONF) as (_, port):
            sale = self._open_sale()
            sides = (
                Side("batches", sale, self._stack.web_port, {"redis, batches": redis}),
                Side("singles", sale, port, {"redis, singles": redis}),
            )
            self._compare("batches", sides, self._batches_round)
        self._figures.check(
            max(self._figures.series["bids a call, singles"]) <= 1,
            "single calls: some contained more than one bid",
        )

    def nginx(self) -> None:
        """Bids through nginx with a new connection per request, and with keep-alive."""
        program = nginx.find()
        if program is None:
            print("  nginx is not installed: skipping nginx-to-keepalive.", flush=True)
            return
        with nginx.proxies(self._servers, program, self._stack.web_port) as (plain, keeping):
            sale, web = self._open_sale(), self._stack.web.process
            sides = (
                Side("nginx", sale, plain, {"web, nginx": web}),
                Side("nginx keeping", sale, keeping, {"web, nginx keeping": web}),
            )
            self._compare("nginx", sides)

    def _batches_round(self, side: Side) -> float:
        redis = self._servers.services.redis
        calls, bids = _script_calls(redis), side.sale.sequence()
        rate = self._side_round(side)
        size = (side.sale.sequence() - bids) / max(1, _script_calls(redis) - calls)
        self._figures.add(f"bids a call, {side.name}", size)
        return rate

    def _compare(
        self,
        name: str,
        sides: Sequence[Side],
        measure: Callable[[Side], float] | None = None,
    ) -> None:
        """Measure bids/s of both sides alternately, after warming up."""
        measure = measure or self._side_round
        self._warm_up(*((side.sale, side.port) for side in sides))
        for number in range(1, self._options.rounds + 1):
            found = [f"{side.name} {measure(side):,.0f}" for side in sides]
            self._say(name, number, f"{', '.join(found)} bids/s")

    def _side_round(self, side: Side) -> float:
        before = side.sale.sequence()
        meter = CpuMeter(side.leaders)
        load = self._run(self._side_plan(side), f"bids, {side.name}")
        self._note_cpu("bid", meter, load.answered)
        self._reconcile(side.sale, before, load)
        self._figures.add(f"bids/s, {side.name}", load.per_second)
        return load.per_second

    def _side_plan(self, side: Side) -> Plan:
        return replace(self._bid_plan(side.sale, port=side.port), headers=side.headers)


def _script_calls(redis: Any) -> int:
    return int(redis.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))
