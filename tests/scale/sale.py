"""A sale over HTTP in several sessions at once, and a ledger of every answer."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

from loadtest import settings
from loadtest.ledger import ledger, stored_state
from loadtest.ledger.ledger import Attempt, Ledger
from loadtest.ledger.verify import Verdict, VerificationInput, verify
from loadtest.sale.api import Api, Refused
from loadtest.sale.members import MemberToken, admin_token
from loadtest.sale.prices import RisingPrices
from loadtest.traffic.connection import Connection, Target
from loadtest.traffic.sending import Sender

CONNECTIONS = 12
# Longer than any stall of a busy machine: a bid that is answered late is answered.
ANSWER_SECONDS = 60.0
BACKOFF_SECONDS = 0.1
RESULTS_SECONDS = 90.0
Answered = tuple[float, Attempt]


class Sale:
    """Opens sessions, lets members bid in all of them, closes them, judges the books."""

    def __init__(self, port: int, folder: Path, sessions: int) -> None:
        self._target, self._folder = Target("127.0.0.1", port), folder
        self.members: Sequence[MemberToken] = ()
        host = f"http://127.0.0.1:{port}"
        self._api = Api(host, admin_token(host, name="admin", password="admin-password"))
        terms = {"name": "Item", "upset_price": 100, "inventory": 5, "duration_minutes": 60}
        self.sessions: list[str] = [
            self._api.call("POST", "/api/admin/sessions/combined", terms)["session_id"]
            for _ in range(sessions)
        ]
        self._books: dict[str, Ledger] = {}
        self._stop = Event()
        self.retried_connections = 0
        # Moments of accepted bids, by session.
        self.accepted: dict[str, list[float]] = {session: [] for session in self.sessions}
        self.kinds: Counter[str] = Counter()
        self.slowest_ms = 0.0

    @property
    def count(self) -> int:
        """Bids answered as newly accepted so far."""
        return self.kinds[ledger.ACCEPTED]

    @contextmanager
    def bidding(self) -> Iterator[None]:
        with ExitStack() as books_open:
            for session in self.sessions:
                path = ledger.ledger_path(self._folder, session)
                book = Ledger(path, mode="closed", session_id=session, plan=[])
                self._books[session] = books_open.enter_context(book)
            thread = Thread(target=lambda: asyncio.run(self._bid_all()))
            thread.start()
            try:
                yield
            finally:
                self._stop.set()
                thread.join()

    def close(self) -> None:
        """End all sessions; returns when the results of all are there."""
        give_up_at = time.monotonic() + RESULTS_SECONDS
        for path in [f"/api/admin/sessions/{session}/close" for session in self.sessions]:
            self._until_taken("PUT", path, give_up_at)
        for session in self.sessions:
            self._until_taken("GET", f"/api/results/{session}", give_up_at)

    def verdicts(self, environ: Mapping[str, str]) -> list[Verdict]:
        """Every session's ledger against PostgreSQL, Redis and the results."""
        servers = settings.servers(environ)
        return [
            verify(
                session,
                VerificationInput(
                    ledger.read([ledger.ledger_path(self._folder, session)], session),
                    stored_state.read(servers, session),
                    self._results(session),
                    servers.ended_keys_ttl_seconds,
                ),
            )
            for session in self.sessions
        ]

    def _results(self, session: str) -> dict[str, Any]:
        results: dict[str, Any] = self._api.get(f"/api/results/{session}?page_size=100")
        pages = (len(self.members) - 1) // 100 + 1
        for page in range(2, pages + 1):
            more = self._api.get(f"/api/results/{session}?page={page}&page_size=100")
            results["rankings"] += more["rankings"]
        return results

    def _until_taken(self, method: str, path: str, give_up_at: float) -> None:
        while True:
            try:
                self._api.call(method, path)
            except Refused:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(BACKOFF_SECONDS)
            else:
                return

    async def _bid_all(self) -> None:
        await asyncio.gather(*(self._bid_on(number) for number in range(CONNECTIONS)))

    async def _bid_on(self, number: int) -> None:
        """One member's app after the other: a bid that is not answered yes is sent again."""
        random = Random(number)
        own, prices = self.members[number::CONNECTIONS], RisingPrices()
        connection = Connection(self._target, ANSWER_SECONDS)
        while not self._stop.is_set():
            session, member = random.choice(self.sessions), random.choice(own)
            any_price = Decimal(random.randint(10_000, 99_999)) / 100
            price = prices.raised((session, member.user_id), any_price)
            while not await self._bid(connection, session, member, price):
                if self._stop.is_set():
                    break
                await asyncio.sleep(BACKOFF_SECONDS)
        connection.close()

    async def _bid(
        self, connection: Connection, session: str, member: MemberToken, price: Decimal
    ) -> bool:
        """Whether the bid was answered. A broken connection is tried again, once, at once."""
        sent_at = time.time()
        sender = Sender(self._target, session)
        attempt = await sender.send(connection, member, price)
        if attempt.kind == ledger.CONNECTION:
            self._keep(session, attempt)
            self.retried_connections += 1
            attempt = await sender.send(connection, member, price)
        self._keep(session, attempt)
        if attempt.kind == ledger.ACCEPTED:
            self.accepted[session].append(sent_at)
        return attempt.is_confirmed

    def _keep(self, session: str, attempt: Attempt) -> None:
        self._books[session].attempt(attempt)
        self.kinds[attempt.kind] += 1
        self.slowest_ms = max(self.slowest_ms, attempt.latency_ms)
