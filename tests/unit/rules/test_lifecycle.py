"""What a session is, by what is stored and what the clock says."""

from datetime import UTC, datetime, timedelta

import pytest

from core.rules.lifecycle import Status, status_at

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
END = START + timedelta(hours=1)
BEFORE, DURING = START - timedelta(microseconds=1), END - timedelta(microseconds=1)
SCHEDULED, ACTIVE, INACTIVE, ENDED, CANCELLED = Status


@pytest.mark.parametrize(
    ("stored", "now", "expected"),
    [
        (SCHEDULED, BEFORE, SCHEDULED),
        (SCHEDULED, START, ACTIVE),
        (SCHEDULED, DURING, ACTIVE),
        (SCHEDULED, END, ENDED),
        (ACTIVE, BEFORE, ACTIVE),
        (ACTIVE, DURING, ACTIVE),
        (ACTIVE, END, ENDED),
        (INACTIVE, BEFORE, INACTIVE),
        (INACTIVE, DURING, INACTIVE),
        (INACTIVE, END, ENDED),
        (ENDED, BEFORE, ENDED),
        (ENDED, DURING, ENDED),
        (ENDED, END, ENDED),
        (CANCELLED, BEFORE, CANCELLED),
        (CANCELLED, DURING, CANCELLED),
        (CANCELLED, END, CANCELLED),
    ],
)
def test_the_clock_decides_what_a_session_is(
    stored: Status, now: datetime, expected: Status
) -> None:
    assert status_at(stored, START, END, now) is expected
