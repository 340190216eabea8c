"""/ready: whether a balancer should send requests to this process. What all hosts share is
/health's: with it, a balancer would take every host out at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from redis import Redis

from core.bootstrap import Services
from core.redis import keys
from tests.api.conftest import CheckedClient, Connect
from tests.api.routes.test_service import app_without, closed_port
from tests.support.factories import Shop

__all__ = ["closed_port"]

READY = (200, {"status": "ready"})
BALLAST_BYTES = 32_000_000


@contextmanager
def configured(redis: Redis, name: str, value: str | int) -> Iterator[None]:
    before = redis.config_get(name)[name]
    redis.config_set(name, value)
    try:
        yield
    finally:
        redis.config_set(name, before)


def asked(client: CheckedClient, path: str) -> tuple[int, dict[str, str]]:
    answer = client.get(path)
    return answer.status_code, answer.json


@pytest.mark.parametrize("servers", [[], ["database"], ["redis"], ["database", "redis"]])
def test_a_process_is_ready_whatever_is_away(
    services: Services, closed_port: int, connect: Connect, servers: list[str]
) -> None:
    assert asked(connect(app_without(services, closed_port, *servers)), "/ready") == READY


@pytest.mark.parametrize(("name", "value"), [("min-replicas-to-write", 1), ("maxmemory", 1)])
def test_a_process_whose_redis_refuses_writes_is_ready_and_the_service_degraded(
    anyone: CheckedClient, services: Services, name: str, value: int
) -> None:
    with configured(services.redis, name, value):
        assert asked(anyone, "/ready") == READY
        status, found = asked(anyone, "/health")
    assert (status, found["status"], found["redis"]) == (503, "degraded", "refusing")


def test_a_process_whose_backlog_is_full_is_ready_and_health_says_so(
    anyone: CheckedClient, services: Services
) -> None:
    # Makes the memory of connections and buffers that come or go meanwhile a small share.
    services.redis.setrange("ballast", BALLAST_BYTES, "x")
    used_bytes = services.redis.info("memory")["used_memory"]
    # Above nine tenths of it, and below all of it: Redis writes, and no bid is accepted.
    with configured(services.redis, "maxmemory", int(used_bytes / 0.95)):
        assert asked(anyone, "/ready") == READY
        status, found = asked(anyone, "/health")
    assert (status, found["redis"], found["persist_backlog"]) == (200, "ok", "full")


@pytest.mark.parametrize("path", ["/ready", "/health"])
def test_asking_leaves_no_bid_and_no_session(anyone: CheckedClient, shop: Shop, path: str) -> None:
    asked(anyone, path)
    assert set(shop.services.redis.keys()) <= {keys.write_probe(UUID(int=0))}
