"""Faults of PostgreSQL."""

import signal
import time
from contextlib import suppress

import psycopg2

from dev.embedded.server import has_ended
from drill.environment.lock_points import await_statement, offset_held, table_locked
from drill.environment.scenario import CONNECTION_NAME, Scene

OUTAGE_SECONDS = 10.0
TABLES = ("bids", "bid_log_offsets", "sessions", "rankings", "users")
DISK_MIB = 320
BLOCK_BYTES = 64 * 1024
DISK_FULL_SECONDS = 5.0


def stop(stage: Scene) -> None:
    """At once: as after a power cut, PostgreSQL recovers from its log."""
    server = stage.servers.postgres
    process = server.process()
    if process is not None:
        process.send_signal(signal.SIGQUIT)
        stage.wait(lambda: has_ended(process), "the end of PostgreSQL")
    time.sleep(OUTAGE_SECONDS)
    server.start()


def cut(stage: Scene) -> None:
    """Once between a drain's insert and its commit, and four times by chance."""
    with offset_held(stage):
        await_statement(stage, "UPDATE bid_log_offsets%")
        _cut_all(stage)
    for _ in range(4):
        stage.rest(0.1, 0.6)
        _cut_all(stage)


def _cut_all(stage: Scene) -> None:
    with stage.postgres() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name <> %s AND backend_type = 'client backend'",
            [CONNECTION_NAME],
        )


def lock_tables(stage: Scene) -> None:
    with table_locked(stage, *TABLES, mode="ACCESS EXCLUSIVE"):
        time.sleep(OUTAGE_SECONDS)


def fill_disk(stage: Scene) -> None:
    """PostgreSQL's folder lies on a small file system here; a file takes all that is free."""
    with stage.postgres() as cursor:
        # Earlier rounds' log makes room for this one's.
        cursor.execute("CHECKPOINT")
    folder = stage.servers.postgres.folder
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(BLOCK_BYTES))
            file.flush()
    # PostgreSQL may well end over this.
    with suppress(psycopg2.Error), stage.postgres() as cursor:
        # Bids fit into what the log has reserved: a new segment of it does not fit.
        cursor.execute("SELECT pg_switch_wal()")
    time.sleep(DISK_FULL_SECONDS)
    ballast.unlink()
    stage.servers.postgres.start()
