"""How full the backlog of bids is said to be, and what room Redis's memory leaves."""

import pytest

from core.bidlog.backlog import BID_BYTES, Backlog, Level, room_in


@pytest.mark.parametrize(
    ("bids", "level", "is_near_bound"),
    [
        (0, Level.OK, False),
        (49, Level.OK, False),
        (50, Level.HALF_FULL, False),
        (89, Level.HALF_FULL, False),
        (90, Level.HALF_FULL, True),
        (99, Level.HALF_FULL, True),
        (100, Level.FULL, True),
        (101, Level.FULL, True),
    ],
)
def test_levels_begin_at_a_half_and_at_the_bound(
    bids: int, level: Level, is_near_bound: bool
) -> None:
    backlog = Backlog(bids, max_bids=100)
    assert (backlog.level, backlog.is_near_bound) == (level, is_near_bound)


def test_without_any_room_an_empty_backlog_is_full() -> None:
    assert Backlog(0, max_bids=0).level is Level.FULL


def test_nine_tenths_of_the_memory_are_for_bids() -> None:
    memory = {"maxmemory": 100 * BID_BYTES, "used_memory": 80 * BID_BYTES}
    assert room_in(memory) == 10


def test_memory_in_use_beyond_that_is_less_than_no_room() -> None:
    memory = {"maxmemory": 100 * BID_BYTES, "used_memory": 95 * BID_BYTES}
    assert room_in(memory) == -5


def test_a_redis_without_a_bound_has_room_for_any_number() -> None:
    assert room_in({"maxmemory": 0, "used_memory": 10**12}) is None
