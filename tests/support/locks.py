"""Waits until others wait for a lock in PostgreSQL."""

import time

from tests.support.factories import Shop

PATIENCE_SECONDS = 30
# In this worker's database: others of the run may use the same server.
_WAITING = """
    SELECT count(*) FROM pg_locks
     WHERE NOT granted
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def wait_for_locks(shop: Shop, count: int) -> None:
    """Until so many transactions wait for one."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while shop.rows(_WAITING) != [(count,)]:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
