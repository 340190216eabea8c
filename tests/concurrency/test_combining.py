"""Calls that threads make at once share a pipeline, and none is answered with another's reply."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from core import errors
from core.combiner import CallCombiner, Replicas
from tests.concurrency.racing import BARRIER_SECONDS, of, together
from tests.factories import Shop

THREADS = 12
PAUSE_MS = 300


class CountingRedis(Redis):
    """Keeps the sizes of the pipelines it is asked for."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batches: list[int] = []

    def pipeline(self, *args: Any, **kwargs: Any) -> Any:
        pipeline = super().pipeline(*args, **kwargs)
        execute = pipeline.execute

        def counted(**options: Any) -> Any:
            self.batches.append(len(pipeline))
            return execute(**options)

        pipeline.execute = counted
        return pipeline


def address(shop: Shop) -> dict[str, Any]:
    known = shop.services.redis.connection_pool.connection_kwargs
    names = ("host", "port", "db", "password", "decode_responses")
    return {name: known[name] for name in names}


@pytest.fixture
def redis(shop: Shop) -> CountingRedis:
    return CountingRedis(**address(shop))


def test_each_call_gets_its_own_reply(redis: CountingRedis) -> None:
    calls = CallCombiner(redis)
    outcomes = together(
        *[
            lambda own=own: [
                calls.execute_command("ECHO", f"{own}:{number}") for number in range(200)
            ]
            for own in range(THREADS)
        ]
    )
    assert outcomes == [[f"{own}:{number}" for number in range(200)] for own in range(THREADS)]


def test_calls_that_wait_travel_together(redis: CountingRedis) -> None:
    calls = CallCombiner(redis)
    calls.execute_command("PING")
    redis.batches.clear()
    redis.execute_command("CLIENT", "PAUSE", PAUSE_MS, "ALL")
    together(*[lambda: calls.execute_command("INCR", "calls") for _ in range(THREADS)])
    assert sum(redis.batches) == THREADS
    assert len(redis.batches) <= 3
    assert redis.get("calls") == str(THREADS)


def test_a_call_that_redis_refuses_fails_alone(redis: CountingRedis) -> None:
    calls = CallCombiner(redis)
    redis.execute_command("CLIENT", "PAUSE", PAUSE_MS, "ALL")
    outcomes = together(
        *[
            lambda own=own: calls.execute_command("ECHO" if own % 2 else "NONSENSE", str(own))
            for own in range(THREADS)
        ]
    )
    assert [outcomes[own] for own in range(1, THREADS, 2)] == [
        str(own) for own in range(1, THREADS, 2)
    ]
    assert len(of(ResponseError, outcomes)) == THREADS // 2


def test_a_broken_connection_fails_calls_and_hangs_none(redis: CountingRedis) -> None:
    gone = Redis(host="127.0.0.1", port=1, socket_connect_timeout=1)
    calls = CallCombiner(gone)
    outcomes = together(*[lambda: calls.execute_command("PING") for _ in range(THREADS)])
    assert len(of(RedisConnectionError, outcomes)) == THREADS


class Interrupting(CountingRedis):
    """Is interrupted, as a process that is told to stop, in its first pipeline."""

    def pipeline(self, *args: Any, **kwargs: Any) -> Any:
        pipeline = super().pipeline(*args, **kwargs)
        if len(self.batches) == 0:
            self.batches.append(0)
            time.sleep(PAUSE_MS / 1000)
            raise SystemExit
        return pipeline


def test_a_leader_that_is_interrupted_takes_nobody_with_it(shop: Shop) -> None:
    calls = CallCombiner(Interrupting(**address(shop)))
    with ThreadPoolExecutor(THREADS) as threads:
        first = threads.submit(calls.execute_command, "PING")
        time.sleep(PAUSE_MS / 3000)
        others = [threads.submit(calls.execute_command, "PING") for _ in range(THREADS - 1)]
        with pytest.raises(SystemExit):
            first.result(BARRIER_SECONDS)
        assert [other.result(BARRIER_SECONDS) for other in others] == [True] * (THREADS - 1)


def test_a_call_that_no_replica_confirms_is_in_doubt(redis: CountingRedis) -> None:
    calls = CallCombiner(redis, Replicas(1, timeout_ms=10))
    with pytest.raises(errors.Unconfirmed):
        calls.execute_command("INCR", "calls")
    assert redis.get("calls") == "1"
    with pytest.raises(ResponseError):
        calls.execute_command("HGET", "calls", "field")
