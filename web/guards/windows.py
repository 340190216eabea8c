"""Sliding windows of `limits`, in any of its storages."""

import time

from limits import RateLimitItem
from limits.strategies import SlidingWindowCounterRateLimiter
from limits.util import WindowStats


class Windows(SlidingWindowCounterRateLimiter):
    """Windows that can be counted and read in one call, and keys known for a while."""

    def count(self, item: RateLimitItem, key: str) -> tuple[bool, WindowStats]:
        """Count one, if the limit allows it; whether it did, and what is left."""
        is_counted = self.hit(item, key)
        window = self.get_window_stats(item, key)
        now = time.time()
        # Redis counts milliseconds, and the library takes the first one's end for now.
        if is_counted and window.reset_time <= now:
            window = window._replace(reset_time=now + item.get_expiry())
        return is_counted, window

    def know(self, key: str, seconds: int) -> None:
        """Know the key for so long from now on, whenever it became known."""
        # A counter's time begins when it is made and does not begin again when it counts.
        self.storage.clear(key)
        self.storage.incr(key, seconds)

    def is_known(self, key: str) -> bool:
        """Whether the key was made known, and not too long ago."""
        return bool(self.storage.get(key))
