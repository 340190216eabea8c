"""Windows counted and read in one trip, held against the library's own two."""

import time
from typing import cast
from uuid import uuid4

import pytest
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis import Redis

from core.bootstrap import Services
from web.guards.windows import SharedWindows, Windows

LIMIT = 7
PREFIX = "windows-of-a-test"
WINDOW_SECONDS = 60
TOLERANCE_SECONDS = 5


@pytest.fixture
def storage(services: Services) -> RedisStorage:
    return RedisStorage(services.settings.limits.storage_url, key_prefix=PREFIX)


@pytest.fixture
def windows(storage: RedisStorage) -> SharedWindows:
    return SharedWindows(storage)


@pytest.fixture
def library(storage: RedisStorage) -> SlidingWindowCounterRateLimiter:
    return SlidingWindowCounterRateLimiter(storage)


@pytest.fixture
def item() -> RateLimitItem:
    return RateLimitItemPerSecond(LIMIT, WINDOW_SECONDS, namespace="test")


def age(storage: RedisStorage, item: RateLimitItem, key: str, seconds: float) -> None:
    """Let the key's windows be so much older."""
    redis = cast(Redis, storage.get_connection())
    name = storage.prefixed_key(f"{{{item.key_for(key)}}}")
    for window in (name, f"{name}/-1"):
        if (left_ms := redis.pttl(window)) > 0:
            redis.pexpire(window, int(left_ms - seconds * 1000))


def are_near(moment: float, other: float) -> bool:
    """A whole window apart is near: the library takes its end in the first instant for now."""
    half = WINDOW_SECONDS / 2
    return abs((moment - other + half) % WINDOW_SECONDS - half) < TOLERANCE_SECONDS


@pytest.mark.parametrize("aged_seconds", [(0,), (10, 30, 25), (70,), (50, 65), (130,)])
def test_counts_and_reads_as_the_library_does(
    storage: RedisStorage,
    windows: SharedWindows,
    library: SlidingWindowCounterRateLimiter,
    item: RateLimitItem,
    aged_seconds: tuple[int, ...],
) -> None:
    ours, theirs = f"{uuid4()}", f"{uuid4()}"
    for seconds in (*aged_seconds, 0):
        for _ in range(3):
            is_counted, stats = windows.count(item, ours)
            assert is_counted == library.hit(item, theirs)
            expected = library.get_window_stats(item, theirs)
            assert stats.remaining == expected.remaining
            assert are_near(stats.reset_time, expected.reset_time)
        for key in (ours, theirs):
            age(storage, item, key, seconds)


def test_the_first_is_told_that_the_window_has_just_begun(
    windows: SharedWindows, item: RateLimitItem
) -> None:
    asked_at = time.time()
    is_counted, stats = windows.count(item, f"{uuid4()}")
    assert (is_counted, stats.remaining) == (True, LIMIT - 1)
    assert asked_at - TOLERANCE_SECONDS < stats.reset_time - WINDOW_SECONDS <= time.time()


@pytest.mark.parametrize("is_shared", [True, False])
def test_what_is_made_known_again_is_known_for_the_whole_time_again(
    windows: SharedWindows, is_shared: bool
) -> None:
    known = windows if is_shared else Windows(MemoryStorage())
    key = f"known/{uuid4()}"
    assert not known.is_known(key)
    for seconds in (WINDOW_SECONDS, 10 * WINDOW_SECONDS):
        asked_at = time.time()
        known.know(key, seconds)
        assert known.is_known(key)
        expiry = cast(Storage, known.storage).get_expiry(key)
        assert asked_at - TOLERANCE_SECONDS < expiry - seconds <= time.time()


def test_it_is_one_trip(storage: RedisStorage, windows: SharedWindows, item: RateLimitItem) -> None:
    def scripts_run() -> int:
        redis = cast(Redis, storage.get_connection())
        return int(redis.info("commandstats")["cmdstat_evalsha"]["calls"])

    key = f"{uuid4()}"
    windows.count(item, key)
    before = scripts_run()
    windows.count(item, key)
    assert scripts_run() - before == 1
