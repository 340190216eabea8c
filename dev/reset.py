"""Deletes everything a run keeps on this machine."""

import shutil

from dev.data_folder import DATA_PATH, POSTGRES_PATH, PROCESSES_PATH, REDIS_PATH, hold
from dev.embedded import PostgresServer, RedisServer
from dev.processes import stop_leftovers


def reset() -> int:
    """Refuses while a run is going on; takes away what a killed one left."""
    if not DATA_PATH.exists():
        print("There is nothing to delete.")
        return 0
    with hold(DATA_PATH):
        stop_leftovers(PROCESSES_PATH)
        PostgresServer(POSTGRES_PATH).stop()
        RedisServer(REDIS_PATH).stop()
        shutil.rmtree(DATA_PATH)
    print(f"Deleted {DATA_PATH}.")
    return 0
