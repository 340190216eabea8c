"""Lines that others can cause are bounded, and those left out are counted."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from core.telemetry.bounded_log import BoundedLog

LINES, SECONDS = 3, 10.0
Write = Callable[[float, int], list[dict[str, Any]]]


@pytest.fixture
def write() -> Write:
    """Writes lines at a moment, and returns those that were logged."""
    now = [0.0]
    bounded = BoundedLog(lines=LINES, seconds=SECONDS, clock=lambda: now[0])

    def at(moment: float, times: int, event: str = "tried") -> list[dict[str, Any]]:
        now[0] = moment
        with capture_logs() as logged:
            for number in range(times):
                bounded.warning(event, number=number)
        return list(logged)

    return at


def test_no_more_than_the_bound_are_written_in_a_window(write: Write) -> None:
    assert [line["number"] for line in write(0, 50)] == [0, 1, 2]
    assert write(9.9, 50) == []


def test_the_next_line_says_how_many_were_left_out(write: Write) -> None:
    write(0, 50)
    first, second = write(10, 2)
    assert first["left_out"] == 47
    assert "left_out" not in second


def test_few_lines_are_all_written(write: Write) -> None:
    for moment in range(0, 100, 10):
        assert [line.get("left_out") for line in write(moment, LINES)] == [None] * LINES


def test_one_event_does_not_hide_another(write: Any) -> None:
    write(0, 50)
    assert len(write(0, 50, "another")) == LINES
