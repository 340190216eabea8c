"""Calls that start at one instant."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

from core.redis import leases
from dev.embedded.server import wait_until
from tests.support.factories import Shop

BARRIER_SECONDS = 30
Call = Callable[[], Any]


def together(*calls: Call) -> list[Any]:
    """Run all calls at once; what each returned, or the error that it raised."""
    barrier = Barrier(len(calls))

    def run(call: Call) -> Any:
        barrier.wait(BARRIER_SECONDS)
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - the error is the answer
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def of(kind: type, outcomes: list[Any]) -> list[Any]:
    """The outcomes of one kind."""
    return [outcome for outcome in outcomes if isinstance(outcome, kind)]


def chunks(calls: list[Call], threads: int) -> Iterator[Call]:
    """The calls dealt out to so many threads; each returns a list of outcomes."""
    for number in range(threads):
        own = calls[number::threads]
        yield lambda own=own: [call() for call in own]


@contextmanager
def table_locked(shop: Shop, table: str, mode: str) -> Iterator[None]:
    """Statements that need this table wait until the block is left."""
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql(f"LOCK TABLE {table} IN {mode} MODE")
        yield


def is_renewed(shop: Shop, lease: str) -> bool:
    """Whether somebody keeps a lease alive, of which only half its time is left now."""
    redis, half_ms = shop.services.redis, leases.TTL_MS // 2
    redis.pexpire(lease, half_ms)
    return wait_until(lambda: redis.pttl(lease) > half_ms, BARRIER_SECONDS)


def blocked(shop: Shop) -> int:
    """How many connections of the suite wait for a lock in PostgreSQL."""
    [(count,)] = shop.rows(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return count


def wait_for_blocked(shop: Shop) -> None:
    """Wait until a connection of the suite waits for a lock in PostgreSQL."""
    give_up_at = time.monotonic() + BARRIER_SECONDS
    while not blocked(shop):
        if time.monotonic() > give_up_at:
            raise TimeoutError("no connection waits for a lock")
        time.sleep(0.005)
