"""A session's life: scheduled -> active <-> inactive -> ended. Pure.

The stored status says what the shop wants; the clock says what is so. The script
that places bids follows the clock, and so does every status shown to a client.
"""

from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    SCHEDULED = "scheduled"
    ACTIVE = "active"
    INACTIVE = "inactive"
    ENDED = "ended"


def status_at(stored: Status, start: datetime, end: datetime, now: datetime) -> Status:
    """What the session is at `now`, however late the job comes that stores it."""
    if stored is Status.ENDED or now >= end:
        return Status.ENDED
    if stored is Status.SCHEDULED and now >= start:
        return Status.ACTIVE
    return stored
