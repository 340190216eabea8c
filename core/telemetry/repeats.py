"""Bounds repeated log lines: some of each kind at once, then a few per second, and a line that
counts the others. A flood of refused requests, or an outage, must not fill the disk.
"""

import atexit
import os
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock, Timer

REPORT_SECONDS = 10.0
# More kinds than the code has: what a library writes may be a kind for each line.
_MAX_KINDS = 1000


@dataclass(frozen=True, slots=True)
class Allowance:
    """Lines of one kind that are written: at once, and per second from then on."""

    burst: int
    per_second: float


# Requests that succeeded, of which each line says something else.
SUCCESSES = Allowance(500, 50.0)
LINES = Allowance(100, 5.0)
# Ten kilobytes each.
TRACEBACKS = Allowance(5, 0.1)


@dataclass(slots=True)
class _Kind:
    """One kind's token bucket, and the lines left out since the last report."""

    tokens: float
    filled_at: float
    left_out: int = 0


class Repeats:
    """Counts the lines of one process. `report` gets each kind and its number of lines left out,
    at most every ten seconds, and at the end of the process.
    """

    def __init__(
        self,
        report: Callable[[Hashable, int], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report, self._clock = report, clock
        self._mutex = Lock()
        self._kinds: dict[Hashable, _Kind] = {}
        self._timer: Timer | None = None
        # Another thread may hold the lock when a process forks, and timers do not survive it.
        os.register_at_fork(after_in_child=self._reset)
        atexit.register(self.report)

    def admit(self, kind: Hashable, allowance: Allowance) -> bool:
        """Whether to write one line of this kind."""
        now = self._clock()
        with self._mutex:
            bucket = self._kinds.get(kind)
            if bucket is None:
                self._make_room()
                bucket = self._kinds[kind] = _Kind(allowance.burst, now)
            grown = bucket.tokens + (now - bucket.filled_at) * allowance.per_second
            bucket.tokens, bucket.filled_at = min(grown, allowance.burst), now
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                return True
            bucket.left_out += 1
            self._schedule_report()
        return False

    def report(self) -> None:
        """Report what was left out since the last time."""
        with self._mutex:
            self._timer = None
            found = [(kind, bucket.left_out) for kind, bucket in self._kinds.items()]
            for bucket in self._kinds.values():
                bucket.left_out = 0
        for kind, count in found:
            if count:
                self._report(kind, count)

    def _reset(self) -> None:
        self._mutex = Lock()
        self._kinds.clear()
        self._timer = None

    def _make_room(self) -> None:
        """Forget the oldest kind of which nothing is to be reported, if there are too many."""
        if len(self._kinds) >= _MAX_KINDS:
            quiet = (kind for kind, bucket in self._kinds.items() if not bucket.left_out)
            del self._kinds[next(quiet, next(iter(self._kinds)))]

    def _schedule_report(self) -> None:
        if self._timer is None:
            timer = self._timer = Timer(REPORT_SECONDS, self.report)
            timer.daemon = True
            timer.start()
