"""What a release and a start say of servers that answer, and are set up so that bids get lost."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from core.config import Settings
from core.operations.server_checks import check_redis, check_servers
from dev.embedded import RedisServer
from dev.embedded.server import wait_until

WAIT_SECONDS = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    with server.running():
        yield server
        # A server that still writes its first append-only file refuses to stop.
        assert wait_until(lambda: not is_rewriting(server), WAIT_SECONDS)


def is_rewriting(server: RedisServer) -> bool:
    with closing(Redis(port=server.port())) as redis:
        found = redis.info("persistence")
    return bool(found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])


@pytest.fixture
def redis(server: RedisServer) -> Iterator[Redis]:
    with closing(Redis(port=server.port(), decode_responses=True)) as redis:
        yield redis
        redis.config_set("appendonly", "yes", "appendfsync", "always")
        redis.config_set("maxmemory-policy", "noeviction")


def test_a_redis_as_the_docs_say_is_all_right(redis: Redis) -> None:
    assert check_redis(redis) == []


@pytest.mark.parametrize(
    ("name", "value", "is_fatal"),
    [
        ("maxmemory-policy", "allkeys-lru", True),
        ("maxmemory-policy", "allkeys-random", True),
        ("maxmemory-policy", "volatile-lru", True),
        ("maxmemory-policy", "volatile-ttl", True),
        ("appendonly", "no", False),
        ("appendfsync", "everysec", False),
        ("appendfsync", "no", False),
    ],
)
def test_a_redis_that_loses_bids_is_told(
    redis: Redis, name: str, value: str, is_fatal: bool
) -> None:
    redis.config_set(name, value)
    [finding] = check_redis(redis)
    assert finding.sentence.startswith(f"{name} is {value}: ")
    assert finding.is_fatal is is_fatal


def test_each_fault_is_told(redis: Redis) -> None:
    redis.config_set("appendonly", "no", "maxmemory-policy", "allkeys-lru")
    assert [finding.is_fatal for finding in check_redis(redis)] == [True, False]


def test_a_redis_that_does_not_show_its_configuration_is_not_suspected(redis: Redis) -> None:
    redis.execute_command("ACL SETUSER shy on >word ~* +@all -config")
    with closing(
        Redis(port=redis.get_connection_kwargs()["port"], username="shy", password="word")
    ) as shy:
        assert check_redis(shy) == []


def test_a_schema_that_is_missing_is_told(empty_database: Settings) -> None:
    found = [finding for server, finding in check_servers(empty_database) if server == "postgresql"]
    assert [finding.is_fatal for finding in found] == [True]
    assert "flask --app web init-db" in found[0].sentence


def test_a_wrong_user_and_a_wrong_password_are_told(settings: Settings, redis: Redis) -> None:
    redis.execute_command("ACL SETUSER default >right")
    port = redis.get_connection_kwargs()["port"]
    wrong = replace(
        settings, postgres_user="nobody_at_all", redis_port=port, redis_password="wrong"
    )
    wrong = replace(wrong, redis_host="127.0.0.1", redis_db=0)
    try:
        found = dict(check_servers(wrong))
    finally:
        redis.execute_command("ACL SETUSER default nopass")
    # In PostgreSQL's own words: whether there is such a role depends on how it authenticates.
    assert "nobody_at_all" in found["postgresql"].sentence
    assert "password" in found["redis"].sentence
    assert all(finding.is_fatal for finding in found.values())
