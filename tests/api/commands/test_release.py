"""`release`: what it checks, says and exits with."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from redis import Redis

from core.bootstrap import Services
from dev.embedded import RedisServer
from tests.support import forked
from tests.support.forked import FLASK


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    with server.running():
        yield server


class Done(NamedTuple):
    returncode: int | None
    stdout: str
    stderr: str


def release(settings: Mapping[str, str]) -> Done:
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
        command = ["flask", "--app", "web", "init-db"]
        process = forked.start(FLASK, command, {**os.environ, **settings}, stdout, stderr)
        process.join()
        return Done(process.exitcode, stdout.read_text(), stderr.read_text())


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
