"""The open model: bids on a schedule that does not wait for answers.

Arrivals are fixed before the sale. Latency counts from the moment a bid was meant to be
sent, so a stall of the service shows in every bid that was due meanwhile. Each process
takes every n-th arrival of the same schedule.
"""

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import uvloop

from loadtest.ledger import ledger
from loadtest.ledger.ledger import CpuShare, Ledger, Timing
from loadtest.sale import prices
from loadtest.sale.api import Api
from loadtest.sale.members import MemberToken
from loadtest.sale.plan import LoadPlan
from loadtest.sale.sale import SaleSession, join_sale
from loadtest.traffic.connection import Connection, Target
from loadtest.traffic.sending import Sender, now

CONNECTIONS = 256
SAMPLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Part:
    """Which arrivals a process takes: number `index` of `count`, from 0."""

    index: int
    count: int


def run(
    host: str,
    plan: LoadPlan,
    session_id: str,
    everybody: Sequence[MemberToken],
    folder: Path,
    part: Part,
) -> None:
    """Send this process's part of the schedule, and keep what came back."""
    sale = join_sale(Api(host), session_id)
    path = ledger.ledger_path(folder, session_id)
    with Ledger(path, mode="open", session_id=session_id, plan=plan.options()) as book:
        uvloop.run(_run_until_signal(Generator(host, plan, sale, book), everybody, part))


async def _run_until_signal(
    generator: "Generator", everybody: Sequence[MemberToken], part: Part
) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, generator.stop)
    await generator.run(everybody, part)


class Generator:
    """Sends bids when they are due, over connections of its own."""

    def __init__(self, host: str, plan: LoadPlan, sale: SaleSession, book: Ledger) -> None:
        self._plan, self._sale, self._book = plan, sale, book
        target = Target.of(host)
        self._sender = Sender(target, sale.session_id)
        self._free = [Connection(target, plan.timeout) for _ in range(CONNECTIONS)]
        self._free_count = asyncio.Semaphore(CONNECTIONS)
        self._under_way: set[asyncio.Task[None]] = set()
        self._prices = prices.RisingPrices()
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Send no more bids."""
        self._stopped.set()

    async def run(self, everybody: Sequence[MemberToken], part: Part) -> None:
        """Send everything that is due, then wait for the last answers."""
        sampler = asyncio.create_task(self._sample())
        arrivals = self._plan.curve.arrivals(self._plan.peak, self._plan.seed)
        for index in range(part.index, len(arrivals), part.count):
            await self._wait_until(self._sale.start + arrivals[index])
            if self._stopped.is_set():
                break
            # In turn, so that no member comes near the rate limit.
            member = everybody[index % len(everybody)]
            bid = asyncio.create_task(self._bid(member, index, arrivals[index]))
            self._under_way.add(bid)
            bid.add_done_callback(self._under_way.discard)
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=2 * self._plan.timeout)
        for bid in self._under_way:
            bid.cancel()
        await asyncio.gather(*self._under_way)
        sampler.cancel()
        for connection in self._free:
            connection.close()

    async def _wait_until(self, moment: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, moment - now())):
                await self._stopped.wait()
        except TimeoutError:
            pass

    async def _sample(self) -> None:
        busy = CpuShare()
        while True:
            waiting = len(self._under_way)
            self._book.sample(at=now(), members=0, in_flight=waiting, cpu=busy.share())
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _bid(self, member: MemberToken, index: int, t: float) -> None:
        random = Random(f"{self._plan.seed}:{index}")
        price = self._prices.raised(
            member.user_id, prices.scheduled(random, self._sale.terms, t, self._plan.duration)
        )
        intended_at = self._sale.start + t
        try:
            async with asyncio.timeout(self._plan.timeout):
                await self._free_count.acquire()
        except (TimeoutError, asyncio.CancelledError):
            given_up_at = now()
            timing = Timing(intended_at, given_up_at, given_up_at)
            self._book.attempt(ledger.unanswered(member.user_id, price, timing, ledger.NOT_SENT))
            return
        connection = self._free.pop()
        self._book.attempt(await self._sender.send(connection, member, price, intended_at))
        self._free.append(connection)
        self._free_count.release()
