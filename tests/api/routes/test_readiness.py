"""/ready: whether a balancer should send bids here."""

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


@contextmanager
def configured(redis: Redis, name: str, value: str | int) -> Iterator[None]:
    before = redis.config_get(name)[name]
    redis.config_set(name, value)
    try:
        yield
    finally:
        redis.config_set(name, before)


def readiness(client: CheckedClient) -> tuple[int, dict[str, str]]:
    answer = client.get("/ready")
    return answer.status_code, answer.json


READY = {"status": "ready", "redis": "ok", "backlog": "ok"}


def test_service_is_ready_when_redis_writes_and_the_script_answers(anyone: CheckedClient) -> None:
    assert readiness(anyone) == (200, READY)


def test_asking_leaves_no_bid_and_no_session(anyone: CheckedClient, shop: Shop) -> None:
    readiness(anyone)
    assert set(shop.services.redis.keys()) <= {keys.write_probe(UUID(int=0))}


def test_service_without_postgresql_is_ready(
    services: Services, closed_port: int, connect: Connect
) -> None:
    assert readiness(connect(app_without(services, closed_port, "database"))) == (200, READY)


def test_service_without_redis_is_not_ready(
    services: Services, closed_port: int, connect: Connect
) -> None:
    found = readiness(connect(app_without(services, closed_port, "redis")))
    assert found == (503, READY | {"status": "not_ready", "redis": "unreachable"})


def test_service_whose_redis_takes_no_write_is_not_ready(
    anyone: CheckedClient, services: Services
) -> None:
    with configured(services.redis, "min-replicas-to-write", 1):
        found = readiness(anyone)
    assert found == (503, READY | {"status": "not_ready", "redis": "refusing"})


@pytest.mark.parametrize(("share", "status"), [(0.5, 200), (0.97, 503)])
def test_service_whose_backlog_is_near_its_bound_is_not_ready(
    anyone: CheckedClient, services: Services, share: float, status: int
) -> None:
    used_bytes = services.redis.info("memory")["used_memory"]
    with configured(services.redis, "maxmemory", int(used_bytes / share)):
        found = readiness(anyone)
    backlog = "ok" if status == 200 else "near_bound"
    assert found[0] == status
    assert found[1]["backlog"] == backlog
