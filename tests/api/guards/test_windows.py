"""Windows that are counted and read in one call."""

import time
from typing import cast
from uuid import uuid4

import pytest
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage, Storage

from core.bootstrap import Services
from web.guards.windows import Windows

LIMIT = 7
PREFIX = "windows-of-a-test"
WINDOW_SECONDS = 60
TOLERANCE_SECONDS = 5


@pytest.fixture
def storage(services: Services) -> RedisStorage:
    return RedisStorage(services.settings.limits.storage_url, key_prefix=PREFIX)


@pytest.fixture
def windows(storage: RedisStorage) -> Windows:
    return Windows(storage)


@pytest.fixture
def item() -> RateLimitItem:
    return RateLimitItemPerSecond(LIMIT, WINDOW_SECONDS, namespace="test")


def test_the_first_is_told_that_the_window_has_just_begun(
    windows: Windows, item: RateLimitItem
) -> None:
    asked_at = time.time()
    is_counted, stats = windows.count(item, f"{uuid4()}")
    assert (is_counted, stats.remaining) == (True, LIMIT - 1)
    assert asked_at - TOLERANCE_SECONDS < stats.reset_time - WINDOW_SECONDS <= time.time()


@pytest.mark.parametrize("is_shared", [True, False])
def test_what_is_made_known_again_is_known_for_the_whole_time_again(
    windows: Windows, is_shared: bool
) -> None:
    known = windows if is_shared else Windows(MemoryStorage())
    key = f"known/{uuid4()}"
    assert not known.is_known(key)
    for seconds in (WINDOW_SECONDS, 10 * WINDOW_SECONDS):
        asked_at = time.time()
        known.mark_known(key, seconds)
        assert known.is_known(key)
        expiry = cast(Storage, known.storage).get_expiry(key)
        assert asked_at - TOLERANCE_SECONDS < expiry - seconds <= time.time()
