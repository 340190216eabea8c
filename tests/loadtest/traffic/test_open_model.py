"""The open model against a server that stands still for a while."""

import asyncio
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Event, Semaphore, Thread

import pytest

from loadtest.ledger import ledger
from loadtest.ledger.ledger import Attempt, Ledger
from loadtest.sale.members import MemberToken
from loadtest.sale.plan import LoadPlan
from loadtest.sale.prices import PricingTerms
from loadtest.sale.sale import SaleSession
from loadtest.traffic import open_model
from loadtest.traffic.open_model import Generator, Part
from tests.loadtest.bids import USER

CONNECTIONS = 3
DUE_IN_THE_STALL = 12
PLAN = LoadPlan(members=20, peak=100, duration=2, timeout=5)
SCHEDULE = PLAN.curve.arrivals(PLAN.peak, PLAN.seed)
PATIENCE_SECONDS = 60
# What is lost of a moment when the ledger rounds it.
ROUNDED_SECONDS = 0.001


class StallingServer(ThreadingHTTPServer):
    """Takes every bid, and answers none until it moves again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.taken, self.moves = Semaphore(0), Event()
        self.sequences = count(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StallingServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.release()
        self.server.moves.wait(PATIENCE_SECONDS)
        answer = {"sequence": next(self.server.sequences), "score": 1.0, "rank": 1}
        answer |= {"response_time": 1.0, "user_weight": 1.0, "replayed": False}
        answer |= {"accepted_at": "2030-01-01T00:00:00+00:00"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[StallingServer]:
    with StallingServer() as server:
        thread = Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server
        server.moves.set()
        server.shutdown()
        thread.join()


class Bidding:
    """A generator at work in a thread of its own, whose ledger is read at the end."""

    def __init__(self, port: int, folder: Path) -> None:
        self.start = time.time()
        self._host, self._path = f"http://127.0.0.1:{port}", folder / "ledger-a-1.jsonl"
        self._ready, self._thread = Event(), Thread(target=self._run)
        self._thread.start()
        self._ready.wait(PATIENCE_SECONDS)

    def _run(self) -> None:
        sale = SaleSession(
            "a", self.start, self.start + PLAN.duration, 1, PricingTerms(100, 0.5, 1000, 2)
        )
        with Ledger(self._path, mode="open", session_id="a") as book:
            asyncio.run(self._bid(Generator(self._host, PLAN, sale, book)))

    async def _bid(self, generator: Generator) -> None:
        loop = asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(generator.stop)
        self._ready.set()
        await generator.run([MemberToken(USER, "token")], Part(0, 1))

    def stop(self) -> list[Attempt]:
        """All attempts, in the order of the schedule."""
        self._stop()
        self._thread.join(PATIENCE_SECONDS)
        attempts = ledger.read([self._path]).attempts
        return sorted(attempts, key=lambda attempt: attempt.intended_at)


def test_a_stall_stops_no_bid_and_is_in_the_latency_of_each_that_was_due(
    server: StallingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_model, "CONNECTIONS", CONNECTIONS)
    bidding = Bidding(server.server_port, tmp_path)
    for _ in range(CONNECTIONS):
        server.taken.acquire(timeout=PATIENCE_SECONDS)
    # The moments of the schedule are what is waited for, whatever the generator does.
    time.sleep(max(0.0, bidding.start + SCHEDULE[DUE_IN_THE_STALL] - time.time()))
    moves_at = time.time()
    server.moves.set()
    for _ in range(DUE_IN_THE_STALL - CONNECTIONS):
        server.taken.acquire(timeout=PATIENCE_SECONDS)
    attempts = bidding.stop()

    assert {attempt.kind for attempt in attempts} == {"accepted"}, (
        "none waited for another's answer"
    )
    paid = [Decimal(attempt.price) for attempt in attempts]
    assert paid == sorted(set(paid)), "a session refuses a member's lower price"
    moments = [bidding.start + moment for moment in SCHEDULE[: len(attempts)]]
    assert [attempt.intended_at for attempt in attempts] == moments
    stalled = [attempt for attempt in attempts if attempt.intended_at < moves_at]
    assert len(stalled) >= DUE_IN_THE_STALL
    assert all(attempt.answered_at > moves_at - ROUNDED_SECONDS for attempt in stalled)
    without_connection = [attempt for attempt in stalled if attempt.sent_at > moves_at]
    assert len(without_connection) >= DUE_IN_THE_STALL - CONNECTIONS
    assert all(attempt.latency_ms > attempt.service_ms for attempt in without_connection)
