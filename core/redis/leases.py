"""Leases: for work that one process at a time should do, however long it takes.

A lease is a short-lived Redis key with its holder's token. A thread renews it while the work
runs, so slow work keeps the lease, and a killed or frozen process loses it.

A lease only avoids duplicate work. It can be lost at any moment, so work that must not run
twice has a second guard: a script that compares the token when it writes, or a PostgreSQL
lock.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex
from threading import Event, Thread

import structlog
from redis import Redis

from core import outages
from core.redis import scripts
from core.redis.scripts import Outcome

log = structlog.get_logger(__name__)

# After a holder dies, its lease is free again within this time.
TTL_MS = 5_000
RENEW_SECONDS = 1.0
# Work that takes longer is presumed to hang, as on a vanished server; another process may try.
LONGEST_SECONDS = 600.0
# Stored instead of a token: the work is enqueued, and the first worker may take the lease.
_RESERVED = "1"


def reserve(redis: Redis, name: str) -> bool:
    """Reserve a free lease for the worker that will take it.

    False if it is held or reserved. A reservation expires like a lease.
    """
    return bool(redis.set(name, _RESERVED, nx=True, px=TTL_MS))


@contextmanager
def held(redis: Redis, name: str) -> Iterator[str | None]:
    """Hold a lease while the block runs; yields its token, or None if another holds it."""
    token = token_hex(16)
    [outcome] = scripts.take_lease(redis, [name], [token, TTL_MS, _RESERVED])
    if outcome != Outcome.LEASE_HELD:
        yield None
        return
    is_over = Event()
    keeper = Thread(target=_keep, args=(redis, name, token, is_over), name=name, daemon=True)
    keeper.start()
    try:
        yield token
    finally:
        is_over.set()
        keeper.join()
        # If Redis is down, the lease expires.
        with suppress(*outages.REDIS):
            scripts.extend_lease(redis, [name], [token, 0])


def _keep(redis: Redis, name: str, token: str, is_over: Event) -> None:
    """Renew a lease until its work ends or takes too long, or the lease is lost."""
    give_up_at = time.monotonic() + LONGEST_SECONDS
    while not is_over.wait(RENEW_SECONDS) and time.monotonic() < give_up_at:
        try:
            [outcome] = scripts.extend_lease(redis, [name], [token, TTL_MS])
        except outages.REDIS:
            continue  # Redis may be back before the lease expires
        if outcome != Outcome.LEASE_HELD:
            log.warning("lease_lost", lease=name)
            return
