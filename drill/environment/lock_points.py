"""Holds the product's processes at one exact point with PostgreSQL locks.

A statement waiting for a lock shows in pg_stat_activity; while it waits, its process can be
killed at exactly that point. The product contains no code for this.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from drill.environment.round_context import RoundContext

# An advisory lock key that the product does not use.
_GATE = 771_177
_MAKE_GATE = f"""
    CREATE OR REPLACE FUNCTION drill_gate() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared({_GATE}); RETURN NEW; END $$;
    CREATE OR REPLACE TRIGGER drill_gate BEFORE UPDATE ON bid_log_offsets
        FOR EACH ROW EXECUTE FUNCTION drill_gate();
"""
_DROP_GATE = "DROP TRIGGER IF EXISTS drill_gate ON bid_log_offsets"
_WAITING = """
    SELECT count(*) FROM pg_stat_activity
     WHERE wait_event_type = 'Lock' AND query ILIKE %s AND pid <> pg_backend_pid()
"""


@contextmanager
def table_locked(context: RoundContext, *tables: str, mode: str = "SHARE") -> Iterator[None]:
    """Block writes to the tables; in ACCESS EXCLUSIVE mode reads, too."""
    with context.postgres() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN {mode} MODE")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


@contextmanager
def last_bid_locked(context: RoundContext) -> Iterator[None]:
    """Block deletion of the session's last bid."""
    with context.postgres() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "SELECT FROM bids WHERE session_id = %s ORDER BY sequence DESC LIMIT 1 FOR UPDATE",
            [context.session_id],
        )
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


@contextmanager
def offset_held(context: RoundContext) -> Iterator[None]:
    """Hold every drain after its insert, before the offset update and the commit."""
    with context.postgres() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_GATE])
        cursor.execute(_MAKE_GATE)
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_GATE])
            cursor.execute(_DROP_GATE)


def await_statement(context: RoundContext, pattern: str) -> None:
    """Wait until a statement like `pattern` waits for a lock."""
    context.wait_for(
        lambda: is_waiting(context, pattern), f"a statement like {pattern} waiting for the lock"
    )


def is_waiting(context: RoundContext, pattern: str) -> bool:
    """Whether a statement like `pattern` waits for a lock."""
    with context.postgres() as cursor:
        cursor.execute(_WAITING, [pattern])
        return bool(cursor.fetchone()[0])
