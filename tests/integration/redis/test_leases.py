"""Leases: kept by slow work, freed by death, lost by whoever stands still."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import enumerate as threads
from typing import Any

import pytest
from redis import Redis

from core.config import PROJECT_ROOT
from core.redis import leases
from dev.stack import wait_until
from tests.support.factories import Shop

NAME = "lease:of-a-test"
TIMEOUT_SECONDS = 30
# So long that nothing in a test lapses unless its holder lets it.
LONG_MS, SHORT_MS = 60_000, 30_000
# Holds a lease in a process of its own, and says how its work ended.
HOLDER = """
from core.redis import leases
from core.redis.connecting import create_redis
from core.config import load_settings

leases.TTL_MS, leases.RENEW_SECONDS = 1_000, 0.1
with leases.held(create_redis(load_settings()), {name!r}) as token:
    print(token, flush=True)
    input()
print("ended", flush=True)
"""


@pytest.fixture
def redis(shop: Shop) -> Redis:
    return shop.services.redis


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewals come at once, and nothing lapses."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(leases, "TTL_MS", LONG_MS)


@contextmanager
def holder() -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease."""
    process = subprocess.Popen(  # noqa: S603 - our own few lines
        [sys.executable, "-c", HOLDER.format(name=NAME)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def happens(condition: Callable[[], Any]) -> bool:
    return wait_until(condition, TIMEOUT_SECONDS)


def shorten(redis: Redis) -> None:
    redis.expire(NAME, SHORT_MS // 1000)


def is_renewed(redis: Redis) -> bool:
    return redis.pttl(NAME) > SHORT_MS


def has_keeper() -> bool:
    return any(thread.name == NAME for thread in threads())


# --- One holder ----------------------------------------------------------------------


def test_a_lease_is_held_by_one_and_free_afterwards(redis: Redis) -> None:
    with leases.held(redis, NAME) as token:
        assert redis.get(NAME) == token
        with leases.held(redis, NAME) as second:
            assert second is None
        assert redis.get(NAME) == token
    assert not redis.exists(NAME)
    assert not has_keeper()


def test_a_lease_is_free_after_work_that_failed(redis: Redis) -> None:
    with pytest.raises(ZeroDivisionError), leases.held(redis, NAME):
        _ = 1 / 0
    assert not redis.exists(NAME)


def test_a_lease_is_reserved_once_for_whoever_takes_it(redis: Redis) -> None:
    assert [leases.reserve(redis, NAME) for _ in range(2)] == [True, False]
    assert 0 < redis.pttl(NAME) <= leases.TTL_MS
    with leases.held(redis, NAME) as token:
        assert redis.get(NAME) == token
        assert not leases.reserve(redis, NAME)
    assert leases.reserve(redis, NAME)


# --- Renewing ------------------------------------------------------------------------


def test_a_lease_is_renewed_while_its_holder_works(redis: Redis, quick: None) -> None:
    with leases.held(redis, NAME):
        for _ in range(3):
            shorten(redis)
            assert happens(lambda: is_renewed(redis))


@pytest.mark.parametrize("successor", ["another", None])
def test_a_lease_that_was_lost_is_neither_renewed_nor_ended(
    redis: Redis, quick: None, successor: str | None
) -> None:
    with leases.held(redis, NAME):
        if successor:
            redis.set(NAME, successor, px=SHORT_MS)
        else:
            redis.delete(NAME)
        assert happens(lambda: not has_keeper())
        assert not is_renewed(redis)
    assert redis.get(NAME) == successor


def test_work_that_hangs_keeps_a_lease_no_longer_than_any_work_takes(
    redis: Redis, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LONGEST_SECONDS", 0.0)
    with leases.held(redis, NAME):
        assert happens(lambda: not has_keeper())


def test_renewing_goes_on_after_an_outage(redis: Redis, quick: None) -> None:
    with leases.held(redis, NAME):
        # Refused like a write to a Redis that has lost its disk or its master.
        user = redis.acl_whoami()
        redis.execute_command("ACL", "SETUSER", user, "-pexpire")
        try:
            shorten(redis)
            assert happens(redis.acl_log)
            assert has_keeper()
        finally:
            redis.execute_command("ACL", "SETUSER", user, "+pexpire")
            redis.acl_log_reset()
        assert happens(lambda: is_renewed(redis))


# --- Processes -----------------------------------------------------------------------


def test_the_lease_of_a_killed_process_lapses(redis: Redis) -> None:
    with holder() as process:
        token = process.stdout.readline().strip()
        assert redis.get(NAME) == token
        process.kill()
        assert happens(lambda: not redis.exists(NAME))


def test_a_stopped_process_loses_its_lease_and_leaves_the_next_holder_alone(redis: Redis) -> None:
    with holder() as process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        assert happens(lambda: not redis.exists(NAME))
        with leases.held(redis, NAME) as token:
            assert token is not None
            process.send_signal(signal.SIGCONT)
            out, _ = process.communicate("\n", TIMEOUT_SECONDS)
            assert out.splitlines()[-1] == "ended"
            assert redis.get(NAME) == token
