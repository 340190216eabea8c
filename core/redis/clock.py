"""The Redis server's clock, which times every bid and every session.

Clocks of web and worker hosts may differ, so none of them decides anything.
"""

from datetime import UTC, datetime, timedelta

from redis import Redis

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now(redis: Redis) -> datetime:
    """The Redis server's time, to the microsecond, in UTC."""
    seconds, microseconds = redis.time()
    return from_microseconds(int(seconds) * 1_000_000 + int(microseconds))


def from_microseconds(microseconds: int) -> datetime:
    """The time from microseconds since 1970, exactly."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
