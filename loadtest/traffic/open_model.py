"""The open model: bids on a schedule that does not wait for answers.

Arrivals are fixed before the sale. Latency counts from the moment a bid was meant to be
sent, so a stall of the service shows in every bid that was due meanwhile. Each process
takes every n-th arrival of the same schedule.
"""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import gevent  # type: ignore[import-untyped]
from gevent import GreenletExit
from gevent.lock import BoundedSemaphore  # type: ignore[import-untyped]
from gevent.pool import Group  # type: ignore[import-untyped]
from geventhttpclient import HTTPClient

from loadtest.ledger import ledger
from loadtest.ledger.ledger import Attempt, CpuShare, Ledger, Timing
from loadtest.sale import prices
from loadtest.sale.api import Api
from loadtest.sale.members import MemberToken
from loadtest.sale.plan import LoadPlan
from loadtest.sale.sale import SaleSession, join_sale
from loadtest.sale.sending import PATH, bid_request

CONNECTIONS = 256


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
        generator = Generator(host, plan, sale, book)
        gevent.signal_handler(signal.SIGTERM, generator.stop)
        gevent.signal_handler(signal.SIGINT, generator.stop)
        generator.run(everybody, part)


class Generator:
    """Sends bids when they are due, over connections of its own."""

    def __init__(self, host: str, plan: LoadPlan, sale: SaleSession, book: Ledger) -> None:
        self._plan, self._sale, self._book = plan, sale, book
        self._path = f"{urlsplit(host).path.rstrip('/')}{PATH}"
        self._client = HTTPClient.from_url(
            host,
            concurrency=CONNECTIONS,
            connection_timeout=plan.timeout,
            network_timeout=plan.timeout,
        )
        self._free_connections = BoundedSemaphore(CONNECTIONS)
        self._under_way = Group()
        self._prices = prices.RisingPrices()
        self._stopped = False
        # One clock for all moments: the wall's at the start, then one that never jumps.
        self._clock_start = time.time() - time.perf_counter()

    def stop(self) -> None:
        """Send no more bids."""
        self._stopped = True

    def run(self, everybody: Sequence[MemberToken], part: Part) -> None:
        """Send everything that is due, then wait for the last answers."""
        sampler = gevent.spawn(self._sample)
        arrivals = self._plan.curve.arrivals(self._plan.peak, self._plan.seed)
        for index in range(part.index, len(arrivals), part.count):
            self._wait_until(self._sale.start + arrivals[index])
            if self._stopped:
                break
            # In turn, so that no member comes near the rate limit.
            member = everybody[index % len(everybody)]
            self._under_way.spawn(self._bid, member, index, arrivals[index])
        self._under_way.join(timeout=2 * self._plan.timeout)
        self._under_way.kill()
        sampler.kill()
        self._client.close()

    def _now(self) -> float:
        return self._clock_start + time.perf_counter()

    def _wait_until(self, moment: float) -> None:
        while not self._stopped and (left := moment - self._now()) > 0:
            gevent.sleep(min(left, 0.2))

    def _sample(self) -> None:
        busy = CpuShare()
        while True:
            waiting = len(self._under_way)
            self._book.sample(at=self._now(), members=0, in_flight=waiting, cpu=busy.share())
            gevent.sleep(1)

    def _bid(self, member: MemberToken, index: int, t: float) -> None:
        random = Random(f"{self._plan.seed}:{index}")
        price = self._prices.raised(
            member.user_id, prices.scheduled(random, self._sale.terms, t, self._plan.duration)
        )
        intended_at = self._sale.start + t
        if self._free_connections.acquire(timeout=self._plan.timeout):
            try:
                attempt = self._send(member, price, intended_at)
            finally:
                self._free_connections.release()
        else:
            attempt = self._lost(member, price, intended_at, self._now(), ledger.NOT_SENT)
        self._book.attempt(attempt)

    def _send(self, member: MemberToken, price: Decimal, intended_at: float) -> Attempt:
        sent_at = self._now()
        try:
            status, answer = self._post(member, price)
        except GreenletExit:
            return self._lost(member, price, intended_at, sent_at, ledger.ABANDONED)
        except (OSError, HTTPException) as error:
            return self._lost(member, price, intended_at, sent_at, ledger.failure(error))
        timing = Timing(intended_at, sent_at, self._now())
        return ledger.answered(member.user_id, price, timing, status, answer)

    def _post(self, member: MemberToken, price: Decimal) -> tuple[int, bytes]:
        body, headers = bid_request(self._sale.session_id, member, price)
        response = self._client.post(self._path, body=body, headers=headers)
        try:
            return response.status_code, bytes(response.read())
        finally:
            response.release()

    def _lost(
        self, member: MemberToken, price: Decimal, intended_at: float, sent_at: float, kind: str
    ) -> Attempt:
        timing = Timing(intended_at, sent_at, self._now())
        return ledger.unanswered(member.user_id, price, timing, kind)
