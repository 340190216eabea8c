"""A session's life: scheduled -> active <-> inactive -> ended, or cancelled before. Pure.

The stored status is the shop's decision; the clock adds the start and the end. Bids and
every status shown to a client follow both.
"""

from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    SCHEDULED = "scheduled"
    ACTIVE = "active"
    INACTIVE = "inactive"
    ENDED = "ended"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether the session takes no bids, for good."""
        return self in (Status.ENDED, Status.CANCELLED)


def status_at(stored: Status, start: datetime, end: datetime, now: datetime) -> Status:
    """The session's status at `now`, even if the stored one lags behind."""
    if stored is Status.CANCELLED:
        return stored
    if stored is Status.ENDED or now >= end:
        return Status.ENDED
    if stored is Status.SCHEDULED and now >= start:
        return Status.ACTIVE
    return stored
