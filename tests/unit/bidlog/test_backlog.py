"""How full the backlog of bids is said to be, and what room Redis's memory leaves."""

import pytest

from core.bidlog.backlog import BID_BYTES, Backlog, Level, room_in


@pytest.mark.parametrize(
    ("bids", "level"),
    [
        (0, Level.OK),
        (49, Level.OK),
        (50, Level.HALF_FULL),
        (99, Level.HALF_FULL),
        (100, Level.FULL),
        (101, Level.FULL),
    ],
)
def test_levels_begin_at_a_half_and_at_the_bound(bids: int, level: Level) -> None:
    assert Backlog(bids, max_bids=100).level is level


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


@pytest.mark.parametrize(
    ("before", "bids", "after"),
    [
        (Level.OK, 49, Level.OK),
        (Level.OK, 50, Level.HALF_FULL),
        (Level.OK, 100, Level.FULL),
        (Level.HALF_FULL, 49, Level.HALF_FULL),
        (Level.HALF_FULL, 40, Level.HALF_FULL),
        (Level.HALF_FULL, 39, Level.OK),
        (Level.HALF_FULL, 100, Level.FULL),
        (Level.FULL, 99, Level.FULL),
        (Level.FULL, 90, Level.FULL),
        (Level.FULL, 89, Level.HALF_FULL),
        (Level.FULL, 40, Level.HALF_FULL),
        (Level.FULL, 39, Level.OK),
    ],
)
def test_a_level_is_left_past_a_margin(before: Level, bids: int, after: Level) -> None:
    assert Backlog(bids, 100).level_after(before) is after


def test_a_backlog_at_the_edge_is_one_level() -> None:
    """Redis's used memory, and with it the bound, rises and falls by some percent."""
    level = Level.OK
    levels = []
    for bids, bound in [(424, 848), (436, 878), (440, 879), (846, 840), (830, 841), (812, 850)]:
        level = Backlog(bids, bound).level_after(level)
        levels.append(level)
    assert levels == [Level.HALF_FULL] * 3 + [Level.FULL] * 3
