"""The embedded Redis-protocol server over restarts."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dev.embedded import embedded_redis

KEYS = 400_000


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="flashbid-redis-") as name:
        yield Path(name)


def client(settings: dict[str, str]) -> Redis:
    """Without retries: it is the server that must be ready. How fast it is does not matter."""
    return Redis(
        settings["REDIS_HOST"],
        int(settings["REDIS_PORT"]),
        decode_responses=True,
        socket_timeout=None,
        retry=Retry(NoBackoff(), 0),
    )


def test_a_restarted_server_is_ready_when_it_has_read_its_data(folder: Path) -> None:
    with embedded_redis(folder) as settings, client(settings) as redis:
        redis.eval(f"for i = 1, {KEYS} do redis.call('SET', 'key:' .. i, i) end", 0)
    with embedded_redis(folder) as settings, client(settings) as redis:
        # A server that is still loading refuses this.
        assert redis.dbsize() == KEYS


def test_the_server_is_durable_and_never_evicts(folder: Path) -> None:
    with embedded_redis(folder) as settings, client(settings) as redis:
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        assert redis.config_get(*wanted) == wanted
