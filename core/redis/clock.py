"""The one clock that decides anything: the Redis server's.

Web and worker hosts may disagree about the time; a bid is in time, and a session is
due, by this clock alone.
"""

from datetime import UTC, datetime, timedelta

from redis import Redis

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now(redis: Redis) -> datetime:
    """The Redis server's time, to the microsecond, in UTC."""
    seconds, microseconds = redis.time()
    return from_microseconds(int(seconds) * 1_000_000 + int(microseconds))


def from_microseconds(microseconds: int) -> datetime:
    """A moment from microseconds since 1970, exactly."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
