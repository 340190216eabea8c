"""Sliding windows of `limits`, in any of its storages."""

import time

from limits import RateLimitItem
from limits.strategies import SlidingWindowCounterRateLimiter
from limits.util import WindowStats


class Windows(SlidingWindowCounterRateLimiter):
    """Windows that are counted and read together, and keys that stay known for a while."""

    def count(self, item: RateLimitItem, key: str) -> tuple[bool, WindowStats]:
        """Count one request if the limit allows it; whether it did, and the window's statistics."""
        is_counted = self.hit(item, key)
        window = self.get_window_stats(item, key)
        now = time.time()
        # Redis counts milliseconds, and the library takes the first one's end for now.
        if is_counted and window.reset_time <= now:
            window = window._replace(reset_time=now + item.get_expiry())
        return is_counted, window

    def mark_known(self, key: str, seconds: int) -> None:
        """Mark the key as known for `seconds` from now."""
        # A counter expires a fixed time after its creation, so it is created anew.
        self.storage.clear(key)
        self.storage.incr(key, seconds)

    def is_known(self, key: str) -> bool:
        """Whether the key is marked as known."""
        return bool(self.storage.get(key))
