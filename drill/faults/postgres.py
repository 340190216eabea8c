"""PostgreSQL faults."""

import signal
import time
from contextlib import suppress

import psycopg2

from dev.embedded.server import has_ended
from drill.environment.lock_points import await_statement, offset_held, table_locked
from drill.environment.round_context import CONNECTION_NAME, RoundContext

OUTAGE_SECONDS = 10.0
TABLES = ("bids", "bid_log_offsets", "sessions", "rankings", "users")
DISK_MIB = 320
BLOCK_BYTES = 64 * 1024
DISK_FULL_SECONDS = 5.0


def stop(context: RoundContext) -> None:
    """Shut down immediately: as after a power cut, PostgreSQL recovers from its WAL."""
    server = context.servers.postgres
    process = server.process()
    if process is not None:
        process.send_signal(signal.SIGQUIT)
        context.wait_for(lambda: has_ended(process), "the end of PostgreSQL")
    time.sleep(OUTAGE_SECONDS)
    server.start()


def cut(context: RoundContext) -> None:
    """Terminate connections once between a drain's insert and commit, then four times at random."""
    with offset_held(context):
        await_statement(context, "UPDATE bid_log_offsets%")
        _cut_all(context)
    for _ in range(4):
        context.sleep_between(0.1, 0.6)
        _cut_all(context)


def _cut_all(context: RoundContext) -> None:
    with context.postgres() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name <> %s AND backend_type = 'client backend'",
            [CONNECTION_NAME],
        )


def lock_tables(context: RoundContext) -> None:
    with table_locked(context, *TABLES, mode="ACCESS EXCLUSIVE"):
        time.sleep(OUTAGE_SECONDS)


def fill_disk(context: RoundContext) -> None:
    """Fill PostgreSQL's small file system with one file."""
    with context.postgres() as cursor:
        # Lets PostgreSQL recycle the WAL of earlier rounds.
        cursor.execute("CHECKPOINT")
    folder = context.servers.postgres.folder
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(BLOCK_BYTES))
            file.flush()
    # PostgreSQL may stop here.
    with suppress(psycopg2.Error), context.postgres() as cursor:
        # Bids still fit into the current WAL segment; a new segment does not.
        cursor.execute("SELECT pg_switch_wal()")
    time.sleep(DISK_FULL_SECONDS)
    ballast.unlink()
    # It may have stopped, or wait for ever for a recovery that met the full disk (seen in 18.4).
    context.servers.postgres.stop()
    context.servers.postgres.start()
