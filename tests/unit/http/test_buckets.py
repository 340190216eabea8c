"""Buckets in memory: generous at first, bounded, and nothing for those who stay below."""

from collections.abc import Callable
from math import ceil

import pytest

from core import errors
from web.http import buckets
from web.http.buckets import Buckets, TooMany


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(buckets, "time", clock)
    return clock


def taken(of: Buckets, key: str = "ann", most: int = 1000) -> int:
    """How many tokens are there now."""
    for count in range(most):
        try:
            of.require(key)
        except errors.Refusal:
            return count
        of.take(key)
    return most


@pytest.mark.parametrize(
    ("per_minute", "burst"), [(600, 40), (300, 20), (45, 3), (30, 2), (15, 1), (1, 1)]
)
def test_a_bucket_holds_four_seconds_of_tokens_and_at_least_one(
    clock: Clock, per_minute: int, burst: int
) -> None:
    assert taken(Buckets("test", per_minute)) == burst


@pytest.mark.parametrize("per_minute", [300, 45, 30, 15, 1])
def test_it_refills_token_by_token_and_says_when(clock: Clock, per_minute: int) -> None:
    of = Buckets("test", per_minute)
    taken(of)
    for _ in range(3):
        with pytest.raises(TooMany) as refused:
            of.require("ann")
        assert 1 <= refused.value.retry_after_seconds <= ceil(60 / per_minute)
        clock.now += refused.value.retry_after_seconds
        assert taken(of) >= 1


def test_a_refusal_takes_nothing(clock: Clock) -> None:
    of = Buckets("test", 60)
    taken(of)
    for _ in range(1000):
        with pytest.raises(TooMany):
            of.require("ann")
    clock.now += 1.0
    assert taken(of) == 1


def test_nobody_waits_longer_than_a_bucket_takes_to_fill(clock: Clock) -> None:
    """Requests that were under way together are counted when they end."""
    of = Buckets("test", 60)
    for _ in range(10_000):
        of.take("ann")
    with pytest.raises(TooMany) as refused:
        of.require("ann")
    assert refused.value.retry_after_seconds == 1
    clock.now += 4.0
    assert taken(of) == 4


def test_keys_have_buckets_of_their_own(clock: Clock) -> None:
    of = Buckets("test", 60)
    assert (taken(of, "ann"), taken(of, "bob")) == (4, 4)


def test_zero_is_no_limit_and_keeps_nothing(clock: Clock) -> None:
    of = Buckets("test", 0)
    assert taken(of) == 1000
    assert len(of) == 0


def test_memory_is_bounded_and_the_latest_are_remembered(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "MAX_KEYS", 50)
    of = Buckets("test", 6)
    for number in range(5000):
        of.take(f"member {number}")
        assert len(of) <= 50
    assert taken(of, "member 4999") == 0
    assert taken(of, "member 0") == 1


def test_who_has_a_full_bucket_again_is_forgotten(clock: Clock) -> None:
    of = Buckets("test", 60)
    for number in range(100):
        of.take(f"member {number}")
    clock.now += 60
    for number in range(100):
        of.take(f"other {number}")
    assert len(of) <= 101


@pytest.mark.parametrize("kind", [TooMany, errors.RateLimited])
def test_the_refusal_is_the_callers_own(
    clock: Clock, kind: Callable[[int], errors.Refusal]
) -> None:
    of = Buckets("test", 6, kind)
    of.take("ann")
    with pytest.raises(kind, match=r"Try again in 10 seconds"):
        of.require("ann")
