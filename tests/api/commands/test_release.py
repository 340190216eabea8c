"""`release`: what it checks, says and exits with."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from redis import Redis

from core.bootstrap import Services
from core.config import PROJECT_ROOT
from dev.embedded import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    with server.running():
        yield server


def release(settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "web", "init-db"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **settings},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def own_redis(services: Services, server: RedisServer) -> Iterator[dict[str, str]]:
    with Redis(port=server.port()) as redis:
        yield server.settings()
        redis.config_set("appendonly", "yes", "maxmemory-policy", "noeviction")


def test_a_release_on_good_servers_says_so(own_redis: dict[str, str]) -> None:
    done = release(own_redis)
    assert done.returncode == 0, done.stderr
    assert [line[0] for line in done.stdout.splitlines()] == ["✓"] * 3
    assert done.stderr == ""


def test_a_redis_that_forgets_is_told_and_one_that_evicts_fails_the_release(
    own_redis: dict[str, str],
) -> None:
    with Redis(port=int(own_redis["REDIS_PORT"])) as redis:
        redis.config_set("appendonly", "no")
        forgetful = release(own_redis)
        redis.config_set("maxmemory-policy", "allkeys-lru")
        evicting = release(own_redis)
    assert forgetful.returncode == 0
    assert forgetful.stderr.startswith("! Redis at ")
    assert "appendonly is no" in forgetful.stderr
    assert evicting.returncode == 1
    assert "✗ Redis at " in evicting.stderr
    assert "maxmemory-policy is allkeys-lru" in evicting.stderr
    assert "Traceback" not in evicting.stderr


@pytest.mark.parametrize(
    ("broker", "told"),
    [
        ("redis://127.0.0.1:{port}/99", "DB index is out of range"),
        ("redis://nobody:wrong@127.0.0.1:{port}/0", "password"),
        ("redis://127.0.0.1:1/0", "Connection refused"),
        ("amqp://guest:wrong@127.0.0.1:1//", "refused"),
    ],
)
def test_a_broker_that_cannot_be_used_fails_the_release(
    own_redis: dict[str, str], broker: str, told: str
) -> None:
    done = release(own_redis | {"CELERY_BROKER_URL": broker.format(port=own_redis["REDIS_PORT"])})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("✗ Broker at ")
    assert told in line
    assert line.endswith("Start it, or correct CELERY_BROKER_URL.")
    assert ":wrong" not in line
    assert len(done.stdout.splitlines()) == 2, "the others are checked all the same"
