"""Faults of the archive command."""

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from dev.children import kill, shell, spawn
from dev.errors import DevError
from drill.environment.lock_points import is_waiting, last_bid_locked, table_locked
from drill.environment.round_context import RoundContext

_COMMAND = "flask --app web archive --older-than 0d --to"
_LEASE = "bids:archiving"
_SETTLED = """
    SELECT FROM sessions s JOIN announcements a ON a.session_id = s.id
     WHERE s.id = %s AND s.weighed_at IS NOT NULL AND a.finished_at IS NOT NULL
       AND NOT EXISTS (SELECT FROM shop_events WHERE session_id = s.id AND delivered_at IS NULL)
"""
_PAY = """
    UPDATE offers SET state = 'paid', settled_at = now() WHERE session_id = %s AND state = 'open'
"""


def kill_archive(context: RoundContext) -> None:
    """Kill it before its file is recorded, while it deletes, and at a random moment.

    The bids that the ledger is compared with are those restored from the file.
    """
    context.close()
    context.await_results()
    context.wait_for(lambda: _is_settled(context), "the settled session")
    _kill_at(context, lambda: table_locked(context, "archives"), "INSERT INTO archives%")
    _kill_at(context, lambda: last_bid_locked(context), "DELETE FROM bids%")
    running = _start(context)
    context.sleep_between(0.5, 3.0)
    kill(running)
    if _start(context).wait() != 0:
        raise DevError(f"The archive failed:\n{_log(context).read_text()}")
    _restore(context)


def _is_settled(context: RoundContext) -> bool:
    with context.postgres() as cursor:
        cursor.execute(_PAY, [context.session_id])
        cursor.execute(_SETTLED, [context.session_id])
        return bool(cursor.rowcount)


def _kill_at(
    context: RoundContext, locked: Callable[[], AbstractContextManager[None]], statement: str
) -> None:
    """Kill the command where the statement waits for the lock."""
    with locked():
        running = _start(context)
        context.wait_for(
            lambda: is_waiting(context, statement) or running.poll() is not None, statement
        )
        if running.poll() is not None:
            raise DevError(f"It ended before {statement}:\n{_log(context).read_text()}")
        kill(running)


def _start(context: RoundContext) -> "subprocess.Popen[bytes]":
    context.wait_for(lambda: not context.redis().exists(_LEASE), "the lease of a killed archive")
    folder = context.servers.folder
    command = f"{_COMMAND} {folder / 'archives'}"
    with _log(context).open("ab") as log:
        return spawn(shell(command), context.stack["web"].environ, log)


def _log(context: RoundContext) -> Path:
    return context.servers.folder / "archive.log"


def _restore(context: RoundContext) -> None:
    """As docs/how-to/backup.md says, but for its record: the next round ignores this session."""
    with context.postgres() as cursor:
        cursor.execute("SELECT file FROM archives WHERE session_id = %s", [context.session_id])
        for (name,) in cursor.fetchall():
            with Path(name).open() as file:
                cursor.copy_expert("COPY bids FROM STDIN WITH (FORMAT csv, HEADER)", file)
