"""Leases: work that one process at a time should do, however long it takes.

A lease is a key in Redis that names its holder and soon lapses by itself. While the work
goes on a thread beside it renews the lease: slow work keeps it, a process that was killed
frees it, and one that stands still loses it.

A lease only spares work. It may be lost at any moment, so whatever must not be done by two
is guarded once more where it is done: by a script that compares the token in the moment of
writing, or by a lock in PostgreSQL.
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

# How soon another can take the place of a holder that died.
TTL_MS = 5_000
RENEW_SECONDS = 1.0
# Work that takes longer hangs, on a server that went without a word; another may try.
LONGEST_SECONDS = 600.0
# In the place of a token: somebody was sent for, and whoever comes may take the lease.
_RESERVED = "1"


def reserve(redis: Redis, name: str) -> bool:
    """Keep a lease that is free for whoever will be sent to take it.

    False when it is held, or reserved. A reservation lapses as a lease does.
    """
    return bool(redis.set(name, _RESERVED, nx=True, px=TTL_MS))


@contextmanager
def held(redis: Redis, name: str) -> Iterator[str | None]:
    """Hold a lease as long as the block runs; its token, or None when another holds it."""
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
        # A lease that cannot be given back lapses.
        with suppress(*outages.REDIS):
            scripts.extend_lease(redis, [name], [token, 0])


def _keep(redis: Redis, name: str, token: str, is_over: Event) -> None:
    """Renew a lease until its work is over, takes too long, or the lease is another's."""
    give_up_at = time.monotonic() + LONGEST_SECONDS
    while not is_over.wait(RENEW_SECONDS) and time.monotonic() < give_up_at:
        try:
            [outcome] = scripts.extend_lease(redis, [name], [token, TTL_MS])
        except outages.REDIS:
            continue  # Redis may be back before the lease has lapsed
        if outcome != Outcome.LEASE_HELD:
            log.warning("lease_lost", lease=name)
            return
