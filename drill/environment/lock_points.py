"""Holding the product's processes at one exact point, from PostgreSQL's side.

A statement that waits for a lock shows in pg_stat_activity; while it waits, its process
can be killed exactly there. The product knows nothing of this.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from drill.environment.scenario import Scene

# Any number that the product does not use.
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
def table_locked(stage: Scene, *tables: str, mode: str = "SHARE") -> Iterator[None]:
    """Nobody writes to the tables; in ACCESS EXCLUSIVE mode nobody reads them."""
    with stage.postgres() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN {mode} MODE")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


@contextmanager
def offset_held(stage: Scene) -> Iterator[None]:
    """Every drain waits after its insert, before the offset moves and the commit."""
    with stage.postgres() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_GATE])
        cursor.execute(_MAKE_GATE)
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_GATE])
            cursor.execute(_DROP_GATE)


def await_statement(stage: Scene, pattern: str) -> None:
    """Until a statement like `pattern` waits for a lock."""

    def waits() -> bool:
        with stage.postgres() as cursor:
            cursor.execute(_WAITING, [pattern])
            return bool(cursor.fetchone()[0])

    stage.wait(waits, f"a statement like {pattern} at the lock")
