"""Watching a run: the service's own figures once a second, and one line for the terminal."""

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
from loadtest.ledger.ledger import ACCEPTED, Attempt, Seen, Tail
from loadtest.report.report import Watched
from loadtest.sale.api import Api, Unreachable
from loadtest.sale.sale import Sale

WATCH_SECONDS = 1.0
WINDOW_SECONDS = 3.0
# Without a terminal that can rewrite its last line, fewer lines.
QUIET_LINE_SECONDS = 5.0


class Watcher:
    """Asks the service once a second, as an admin and a spectator would."""

    def __init__(self, api: Api, session_id: str) -> None:
        self._api, self._session_id = api, session_id
        self.seen: list[Watched] = []
        self._done = Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _watch(self) -> None:
        while not self._done.wait(WATCH_SECONDS):
            at = time.time()
            stats = self._ask("/api/admin/stats")
            board = self._ask(f"/api/leaderboard/{self._session_id}?page_size=1")
            self.seen.append(
                Watched(
                    at=at,
                    backlog=stats.get("persist_backlog"),
                    threshold=board.get("threshold_score"),
                    bidders=board.get("total_count", 0),
                )
            )

    def _ask(self, path: str) -> dict[str, Any]:
        """What it says; nothing when it does not answer."""
        try:
            answer: dict[str, Any] = self._api.get(path)
        except (Unreachable, LoadTestError):
            return {}
        return answer


class Progress:
    """One line that says how the run stands."""

    def __init__(self, sale: Sale, watcher: Watcher, tail: Tail) -> None:
        self._sale, self._watcher, self._tail = sale, watcher, tail
        self._recent: list[Attempt] = []
        self._samples: dict[int, Counter[str]] = {}
        self._accepted = self._errors = 0
        self._seen: list[Seen] = []
        self._crowd: list[dict[str, float]] = []
        self._lost = 0.0
        self._said_at = 0.0

    def show(self) -> None:
        """Read what is new and say how things stand."""
        self._read()
        if sys.stdout.isatty():
            print(f"\r\x1b[K{self._line()}", end="", flush=True)
        elif time.monotonic() - self._said_at >= QUIET_LINE_SECONDS:
            self._said_at = time.monotonic()
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
            # Several processes each know their own members.
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
        # The open model has no members who come and go.
        who = f"members {now['members']}  " if now["members"] else ""
        backlog = self._watcher.seen[-1].backlog if self._watcher.seen else None
        return (
            f"  {_countdown(self._sale)}  {who}under way {now['in_flight']}"
            f"  {rate:.0f} bids/s  {times}  backlog {'?' if backlog is None else f'{backlog:.0f}'}"
            f"  accepted {self._accepted}  errors {self._errors}{self._watchers()}"
        )

    def _watchers(self) -> str:
        """How those who watch are served; nothing when nobody does."""
        if not self._crowd:
            return ""
        lag = lags.total(self._seen, lags.moments(self._recent))
        slow = f"{lag.p99:.0f} ms" if lag.count else "-"
        frames = sum(sample["frames"] for sample in self._crowd) / WINDOW_SECONDS
        return (
            f"  watchers {self._crowd[-1]['watching']:.0f}  {frames:,.0f} frames/s"
            f"  lag p99 {slow}  lost {self._lost:.0f}"
        )


def _countdown(sale: Sale) -> str:
    if sale.elapsed < 0:
        return f"opens in {-sale.elapsed:3.0f} s"
    left = sale.end - time.time()
    return f"{left:3.0f} s left" if left > 0 else "over      "
