"""Token buckets in this process's memory, for requests that cost less than counting them in
Redis, where they leave no trace.
"""

import time
from collections.abc import Callable
from itertools import islice
from math import ceil
from threading import Lock

from core import errors
from core.telemetry import metrics

# Keys that used a token lately; the oldest is forgotten for a new one.
MAX_KEYS = 10_000
# A full bucket holds as many tokens as refill in this time.
BURST_SECONDS = 4.0


class TooMany(errors.Refusal):
    """The caller's bucket is empty."""

    def __init__(self, retry_after_seconds: int) -> None:
        unit = "second" if retry_after_seconds == 1 else "seconds"
        super().__init__(f"Too many requests. Try again in {retry_after_seconds} {unit}.")
        self.retry_after_seconds = retry_after_seconds


class Buckets:
    """A bucket for each key, full at first, that refills at `per_minute`. 0: no limit."""

    def __init__(
        self, name: str, per_minute: int, refusal: Callable[[int], errors.Refusal] = TooMany
    ) -> None:
        self._name, self._refusal = name, refusal
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        # Empty buckets need this long to be full; at least one token.
        self._full_seconds = max(BURST_SECONDS, self._seconds_each)
        # When each bucket will be full again; those that are full are left out in time.
        self._full_at: dict[str, float] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._full_at)

    def require(self, key: str) -> None:
        """Raises the refusal if the bucket is empty. Takes nothing."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return
        wait = full_at + self._seconds_each - self._full_seconds - time.monotonic()
        # Sums of floats: a token that is due in a microsecond is due.
        if wait > 1e-6:  # noqa: PLR2004
            metrics.RATE_LIMIT_HITS.labels(self._name).inc()
            raise self._refusal(max(1, ceil(wait)))

    def take(self, key: str) -> None:
        """Take one token, after the fact: the next `require` refuses if it was the last."""
        if not self._seconds_each:
            return
        now = time.monotonic()
        with self._lock:
            full_at = max(now, self._full_at.pop(key, now)) + self._seconds_each
            # Requests that were under way together may take more than there are.
            self._full_at[key] = min(full_at, now + self._full_seconds)
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop the longest unused keys: those that are full again, and those above MAX_KEYS."""
        for key in list(islice(self._full_at, 2)):
            if self._full_at[key] <= now or len(self._full_at) > MAX_KEYS:
                del self._full_at[key]
