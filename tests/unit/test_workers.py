"""Which databases each process of a parallel run has."""

from itertools import combinations

import pytest

from tests.support.workers import own_database, own_redis, worker_number, workers_for

MOST_WORKERS = 7


def worker(number: int, **environ: str) -> dict[str, str]:
    return {"PYTEST_XDIST_WORKER": f"gw{number}", **environ}


def databases(number: int, **environ: str) -> set[tuple[str, int]]:
    """Server and number of the databases for data and for the broker."""
    own = own_redis(worker(number, **environ))
    first = int(own["REDIS_DB"])
    return {(own.get("REDIS_PORT", ""), first), (own.get("REDIS_PORT", ""), first + 1)}


@pytest.mark.parametrize("ports", ["", "7001 7002"])
@pytest.mark.parametrize("named", ["0", "3", "14"])
def test_no_two_workers_share_a_redis_database_and_none_has_the_named_ones(
    ports: str, named: str
) -> None:
    environ = {"TEST_REDIS_PORTS": ports, "REDIS_DB": named}
    own = [databases(number, **environ) for number in range(6)]
    assert not any(one & other for one, other in combinations(own, 2))
    numbers = {number for pairs in own for _, number in pairs}
    assert numbers <= set(range(16)) - {int(named), int(named) + 1}


def test_more_workers_than_a_redis_has_databases_for_are_refused() -> None:
    assert own_redis(worker(MOST_WORKERS - 1))
    with pytest.raises(pytest.UsageError, match="for 7 workers"):
        own_redis(worker(MOST_WORKERS))


def test_each_worker_has_a_postgresql_database_of_its_own() -> None:
    names = {own_database("flashbid_test", worker(number)) for number in range(20)}
    assert len(names) == 20
    assert own_database("flashbid_test", {}) == "flashbid_test"


def test_a_run_without_workers_is_the_first() -> None:
    assert worker_number({}) == worker_number(worker(0)) == 0
    assert own_redis({}) == own_redis(worker(0)) == {"REDIS_DB": "14"}


def test_servers_that_all_share_have_one_worker_each() -> None:
    cores = workers_for({})
    assert cores >= 1
    assert workers_for({"REDIS_HOST": "redis"}) == 1
    assert workers_for({"REDIS_HOST": "redis", "TEST_REDIS_PORTS": "1 2"}) == min(cores, 2)
    assert workers_for({"TEST_BROKER_URL": "amqp://rabbit"}) == 1
