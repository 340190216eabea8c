"""Runs one drain, or one plain insert of the same rows, in a separate process.

    python -m dev.bench.runs.drain_process drain SESSION_ID
    python -m dev.bench.runs.drain_process insert SESSION_ID PAGE_SIZE

Connects before the clock starts. Writes JSON: rows, seconds, CPU seconds.
"""

import json
import sys
import time
from typing import Any
from uuid import UUID

from psycopg2.extras import execute_values, register_uuid
from sqlalchemy import text

from core.bidlog.entries import COLUMNS
from core.bootstrap import Services, bootstrap
from core.config import load_settings

TABLE = "bench_bids"
_COLUMN_LIST = ", ".join(COLUMNS)
_INSERT = f"INSERT INTO {TABLE} ({_COLUMN_LIST}) VALUES %s"  # noqa: S608 - constants
_SELECT = f"SELECT {_COLUMN_LIST} FROM bids WHERE session_id = %s ORDER BY sequence"  # noqa: S608 - constants
DRAIN_SECONDS = 120.0


def main() -> None:
    action, session_id = sys.argv[1], UUID(sys.argv[2])
    services = bootstrap(load_settings())
    with services.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    services.redis.ping()
    if action == "drain":
        found = drain(services, session_id)
    else:
        found = insert(services, session_id, int(sys.argv[3]))
    json.dump(found, sys.stdout)


def drain(services: Services, session_id: UUID) -> dict[str, float]:
    clocks = time.perf_counter(), time.process_time()
    drained = services.bid_log.drain(session_id, seconds=DRAIN_SECONDS)
    return _report(drained.rows, *clocks)


def insert(services: Services, session_id: UUID, page_size: int) -> dict[str, float]:
    """Insert the drained session's rows, committed in batches of the drain's size."""
    batch_size = services.settings.drain_batch_size
    connection: Any = services.engine.raw_connection()
    register_uuid()  # type: ignore[no-untyped-call]
    with connection.cursor() as cursor:
        cursor.execute(_SELECT, (session_id,))
        rows = cursor.fetchall()
        connection.commit()
        clocks = time.perf_counter(), time.process_time()
        for at in range(0, len(rows), batch_size):
            execute_values(cursor, _INSERT, rows[at : at + batch_size], page_size=page_size)
            connection.commit()
        return _report(len(rows), *clocks)


def _report(rows: int, wall: float, cpu: float) -> dict[str, float]:
    return {
        "rows": rows,
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }


if __name__ == "__main__":
    main()
