"""Members who bid until they are told to stop, whatever answers come; a ledger of it all."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from threading import Event, Thread

from loadtest.ledger import ledger
from loadtest.ledger.ledger import Ledger
from loadtest.sale.members import MemberToken
from loadtest.sale.prices import RisingPrices
from loadtest.traffic.connection import Connection, Target
from loadtest.traffic.sending import Sender

CONNECTIONS = 12
TIMEOUT_SECONDS = 6.0
# Each connection's rest between two bids: the drill is to prove, not to press.
PAUSE_SECONDS = 0.02
# After a failure a member waits a little longer before the next try.
BACKOFF_SECONDS = 0.1


class Crowd:
    """Bids over several connections at once. Every attempt goes into one ledger."""

    def __init__(
        self,
        port: int,
        session_id: str,
        members: Sequence[MemberToken],
        folder: Path,
        seed: int,
        *,
        may_lower: bool,
    ) -> None:
        self.session_id, self._members = session_id, members
        self._target = Target("127.0.0.1", port)
        self._sender = Sender(self._target, session_id)
        self._folder, self._seed, self._may_lower = folder, seed, may_lower
        self._stop = Event()
        self.counts: Counter[str] = Counter()
        self.pause_seconds = PAUSE_SECONDS
        # When each bid was accepted, in seconds of `time.monotonic()`, in that order.
        self._accepted_at: list[float] = []
        # How long each of them took, in seconds.
        self._took: list[float] = []

    @property
    def acknowledged(self) -> int:
        """Bids answered as newly accepted so far."""
        return self.counts[ledger.ACCEPTED]

    def longest_pause(self, began_at: float, ended_at: float) -> float:
        """The most seconds between these moments in which no bid was accepted."""
        within = [at for at in list(self._accepted_at) if began_at < at < ended_at]
        moments = [began_at, *within, ended_at]
        return max(after - before for before, after in pairwise(moments))

    def median_seconds(self, began_at: float, ended_at: float) -> float:
        """The median time of bids accepted between these moments; infinite without any."""
        accepted = zip(list(self._accepted_at), list(self._took), strict=False)
        within = [took for at, took in accepted if began_at < at < ended_at]
        return median(within) if within else float("inf")

    @contextmanager
    def bidding(self) -> Iterator["Crowd"]:
        path = ledger.ledger_path(self._folder, self.session_id)
        with Ledger(path, mode="closed", session_id=self.session_id, plan=[]) as book:
            thread = Thread(target=lambda: asyncio.run(self._bid_all(book)), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self._stop.set()
                thread.join()

    async def _bid_all(self, book: Ledger) -> None:
        await asyncio.gather(*(self._bid_on(book, number) for number in range(CONNECTIONS)))

    async def _bid_on(self, book: Ledger, number: int) -> None:
        random = Random(f"{self._seed}:{number}")
        own, prices = self._members[number::CONNECTIONS], RisingPrices()
        connection = Connection(self._target, TIMEOUT_SECONDS)
        while not self._stop.is_set():
            member, price = random.choice(own), Decimal(random.randint(10_000, 99_999)) / 100
            if not self._may_lower:
                price = prices.raised(member.user_id, price)
            sent_at = time.monotonic()
            attempt = await self._sender.send(connection, member, price)
            answered_at = time.monotonic()
            book.attempt(attempt)
            self.counts[attempt.kind] += 1
            self.counts[f"status {attempt.status}"] += 1
            if attempt.kind == ledger.ACCEPTED:
                self._accepted_at.append(answered_at)
                self._took.append(answered_at - sent_at)
            await asyncio.sleep(self.pause_seconds if attempt.is_confirmed else BACKOFF_SECONDS)
        connection.close()
