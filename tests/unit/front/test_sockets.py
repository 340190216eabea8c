"""How often a crowd is shown the board."""

import pytest

from web.front.sockets import interval_seconds


@pytest.mark.parametrize(
    ("used_seconds", "interval"), [(0.0, 0.2), (0.03, 0.2), (0.045, 0.3), (9.0, 0.35)]
)
def test_frames_come_less_often_when_they_cost_more(used_seconds: float, interval: float) -> None:
    assert interval_seconds(used_seconds) == pytest.approx(interval)
