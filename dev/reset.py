"""Deletes all local data."""

import shutil

from dev.data_folder import DATA_PATH, POSTGRES_PATH, PROCESSES_PATH, REDIS_PATH, lock_folder
from dev.embedded import PostgresServer, RedisServer
from dev.processes import stop_leftovers


def reset() -> int:
    """Delete the data folder, and stop processes left by a killed run.

    Raises DevError while a run is active.
    """
    if not DATA_PATH.exists():
        print("There is nothing to delete.")
        return 0
    with lock_folder(DATA_PATH):
        stop_leftovers(PROCESSES_PATH)
        PostgresServer(POSTGRES_PATH).stop()
        RedisServer(REDIS_PATH).stop()
        shutil.rmtree(DATA_PATH)
    print(f"Deleted {DATA_PATH}.")
    return 0
