"""Follows a run: samples the service once a second and prints a progress line."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.ledger import lags
from loadtest.ledger.figures import Latency
from loadtest.ledger.ledger import ACCEPTED, Attempt, LedgerTail, SeenFrames
from loadtest.report.report import ServiceSample
from loadtest.sale.api import Api, Unreachable
from loadtest.sale.sale import SaleSession

SAMPLE_SECONDS = 1.0
WINDOW_SECONDS = 3.0
# Interval of progress lines without a terminal.
PLAIN_LINE_SECONDS = 5.0


class ServiceMonitor:
    """Samples the service's statistics and board once a second."""

    def __init__(self, api: Api, session_id: str) -> None:
        self._api, self._session_id = api, session_id
        self.samples: list[ServiceSample] = []
        self._done = Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = Thread(target=self._sample, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            at = time.time()
            stats = self._get("/api/admin/stats")
            board = self._get(f"/api/leaderboard/{self._session_id}?page_size=1")
            self.samples.append(
                ServiceSample(
                    at=at,
                    backlog=stats.get("persist_backlog"),
                    threshold=board.get("threshold_score"),
                    bidders=board.get("total_count", 0),
                )
            )

    def _get(self, path: str) -> dict[str, Any]:
        """The response's JSON; empty if there is none."""
        try:
            answer: dict[str, Any] = self._api.get(path)
        except (Unreachable, LoadTestError):
            return {}
        return answer


class ProgressLine:
    """Prints the progress of the run in one line."""

    def __init__(self, sale: SaleSession, monitor: ServiceMonitor, tail: LedgerTail) -> None:
        self._sale, self._monitor, self._tail = sale, monitor, tail
        self._recent: list[Attempt] = []
        self._samples: dict[int, Counter[str]] = {}
        self._accepted = self._errors = 0
        self._seen: list[SeenFrames] = []
        self._crowd: list[dict[str, float]] = []
        self._lost = 0.0
        self._printed_at = 0.0

    def show(self) -> None:
        """Read new ledger lines and print the progress."""
        self._read()
        if sys.stdout.isatty():
            print(f"\r\x1b[K{self._line()}", end="", flush=True)
        elif time.monotonic() - self._printed_at >= PLAIN_LINE_SECONDS:
            self._printed_at = time.monotonic()
            print(self._line(), flush=True)

    @staticmethod
    def end() -> None:
        if sys.stdout.isatty():
            print()

    def _read(self) -> None:
        fresh = self._tail.read()
        self._accepted += sum(attempt.kind == ACCEPTED for attempt in fresh.attempts)
        self._errors += sum(attempt.is_error for attempt in fresh.attempts)
        since = time.time() - WINDOW_SECONDS
        self._recent = [a for a in [*self._recent, *fresh.attempts] if a.answered_at >= since]
        for sample in fresh.samples:
            # Each process reports only its own members.
            sums = self._samples.setdefault(round(sample["at"]), Counter())
            sums.update(members=int(sample["members"]), in_flight=int(sample["in_flight"]))

        self._crowd = [s for s in [*self._crowd, *fresh.crowd] if s["at"] >= since]
        self._lost += sum(sample["lost"] for sample in fresh.crowd)
        shown_since = since + self._sale.ahead
        self._seen = [s for s in [*self._seen, *fresh.seen] if s.shown >= shown_since]

    def _line(self) -> str:
        latency = Latency.of(attempt.latency_ms for attempt in self._recent)
        rate = sum(attempt.kind == ACCEPTED for attempt in self._recent) / WINDOW_SECONDS
        times = f"p50 {latency.p50:.0f} ms  p99 {latency.p99:.0f} ms" if latency.count else "-"
        now = self._samples.get(max(self._samples, default=0), Counter())
        # The open model has no individual members.
        who = f"members {now['members']}  " if now["members"] else ""
        backlog = self._monitor.samples[-1].backlog if self._monitor.samples else None
        return (
            f"  {_countdown(self._sale)}  {who}in flight {now['in_flight']}"
            f"  {rate:.0f} bids/s  {times}  backlog {'?' if backlog is None else f'{backlog:.0f}'}"
            f"  accepted {self._accepted}  errors {self._errors}{self._watchers()}"
        )

    def _watchers(self) -> str:
        """The watchers' part of the line; empty without watchers."""
        if not self._crowd:
            return ""
        lag = lags.total(self._seen, lags.moments(self._recent))
        slow = f"{lag.p99:.0f} ms" if lag.count else "-"
        frames = sum(sample["frames"] for sample in self._crowd) / WINDOW_SECONDS
        return (
            f"  watchers {self._crowd[-1]['watching']:.0f}  {frames:,.0f} frames/s"
            f"  lag p99 {slow}  lost {self._lost:.0f}"
        )


def _countdown(sale: SaleSession) -> str:
    if sale.elapsed < 0:
        return f"opens in {-sale.elapsed:3.0f} s"
    left = sale.end - time.time()
    return f"{left:3.0f} s left" if left > 0 else "over      "
