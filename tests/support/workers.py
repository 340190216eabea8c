"""Keeps the processes of one parallel run apart, each with databases of its own.

A run without pytest-xdist is worker 0, and so is the first worker.
"""

import os
import re
from collections.abc import Mapping

import pytest

# As Redis comes.
REDIS_DATABASES = 16
# Data and broker.
DATABASES_PER_WORKER = 2
REDIS_PORTS = "TEST_REDIS_PORTS"
# Tests wait for servers and for time limits.
WORKERS_PER_CORE = 3


def worker_number(environ: Mapping[str, str] = os.environ) -> int:
    """The number in `gw3`, the name that pytest-xdist gives a worker."""
    return int(re.sub(r"\D", "", environ.get("PYTEST_XDIST_WORKER", "")) or 0)


def own_database(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The name of this worker's database: nobody else in the run has it."""
    worker = environ.get("PYTEST_XDIST_WORKER")
    return f"{name}_{worker}" if worker else name


def own_redis(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The Redis settings of this worker: a server of its own, or two databases of a shared one.

    The databases that the settings name are left out.
    """
    number = worker_number(environ)
    ports = environ.get(REDIS_PORTS, "").split()
    if ports:
        turn, place = divmod(number, len(ports))
        return {"REDIS_PORT": ports[place], "REDIS_DB": _redis_db(turn, environ)}
    return {"REDIS_DB": _redis_db(number, environ)}


def _redis_db(number: int, environ: Mapping[str, str]) -> str:
    named = int(environ.get("REDIS_DB") or 0)
    taken = {named, named + 1}
    last = REDIS_DATABASES - DATABASES_PER_WORKER
    free = [
        first
        for first in range(last, -1, -DATABASES_PER_WORKER)
        if not taken & set(range(first, first + DATABASES_PER_WORKER))
    ]
    if number >= len(free):
        raise pytest.UsageError(
            f"A Redis server has databases for {len(free)} workers. "
            f"Run fewer (-n {len(free)}), or name more servers in {REDIS_PORTS}."
        )
    return str(free[number])


def workers_for(environ: Mapping[str, str] = os.environ) -> int:
    """How many workers a run may have at most: one for each Redis server.

    Many tests read a server's counters or change its configuration, which databases share.
    """
    if environ.get("TEST_BROKER_URL"):
        return 1
    if not environ.get("REDIS_HOST"):
        return WORKERS_PER_CORE * cores()
    return min(WORKERS_PER_CORE * cores(), len(environ.get(REDIS_PORTS, "").split()) or 1)


def cores() -> int:
    """Those that this process may use, where the system says which."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
