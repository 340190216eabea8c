"""Sliding windows of `limits`, counted and read in one trip to Redis instead of two.

The library has a script for either; here both run as one, as they are.
"""

import time
from collections.abc import Sequence
from math import floor
from typing import cast

from limits import RateLimitItem
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from limits.util import WindowStats
from redis import Redis

# Each of the library's scripts reads its arguments from ARGV, which is its parameter here.
_COUNT_AND_READ = b"""
local function count(ARGV)
%b
end
local function read(ARGV)
%b
end
local is_counted = count(ARGV)
local window = read({ARGV[2]})
return {is_counted and 1 or 0, window[1], window[2], window[3], window[4]}
""" % (RedisStorage.SCRIPT_ACQUIRE_SLIDING_WINDOW, RedisStorage.SCRIPT_SLIDING_WINDOW)
_ONE = 1


class Windows(SlidingWindowCounterRateLimiter):
    """Windows in any storage."""

    def count(self, item: RateLimitItem, key: str) -> tuple[bool, WindowStats]:
        """Count one, if the limit allows it; whether it did, and what is left."""
        return self.hit(item, key), self.get_window_stats(item, key)

    def know(self, key: str, seconds: int) -> None:
        """Know the key for so long from now on, whenever it became known."""
        # A counter's time begins when it is made and does not begin again when it counts.
        self.storage.clear(key)
        self.storage.incr(key, seconds)

    def is_known(self, key: str) -> bool:
        """Whether the key was made known, and not too long ago."""
        return bool(self.storage.get(key))


class SharedWindows(Windows):
    """Windows in a Redis: one server, or a cluster of them."""

    def __init__(self, storage: RedisStorage) -> None:
        super().__init__(storage)
        self._redis = storage
        self._script = storage.get_connection().register_script(_COUNT_AND_READ)

    def count(self, item: RateLimitItem, key: str) -> tuple[bool, WindowStats]:
        """Count one, if the limit allows it; whether it did, and what is left."""
        # The library's names, of one slot in a cluster.
        current = self._redis.prefixed_key(f"{{{item.key_for(key)}}}")
        answer = self._script([f"{current}/-1", current], [item.amount, item.get_expiry(), _ONE])
        is_counted, *window = cast(Sequence[int | bytes | None], answer)
        return bool(is_counted), _stats(item, *(int(number or 0) for number in window))

    def know(self, key: str, seconds: int) -> None:
        """Know the key for so long from now on; in one command, so that it is never unknown."""
        redis = cast(Redis, self._redis.get_connection())
        redis.set(self._redis.prefixed_key(key), _ONE, ex=seconds)


def _stats(
    item: RateLimitItem, before: int, before_ends_ms: int, now: int, now_ends_ms: int
) -> WindowStats:
    """What the library makes of a window: a share of the one before it counts, too.

    A window is kept for twice its length, and is the one before for the second half.
    """
    length_ms = item.get_expiry() * 1000
    before_ends_ms = max(0, before_ends_ms)
    counted = floor(before * before_ends_ms / length_ms + now)
    more_in_ms = [before_ends_ms % (length_ms / before)] if before else []
    more_in_ms += [max(0, now_ends_ms - length_ms)] if now else []
    return WindowStats(
        time.time() + min(more_in_ms, default=0) / 1000, max(0, item.amount - counted)
    )
