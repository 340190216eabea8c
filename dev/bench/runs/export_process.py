"""Runs one export of a session's bids, or PostgreSQL's own COPY of them, in a separate process.

    python -m dev.bench.runs.export_process copy|csv|ndjson SESSION_ID FILE

Connects before the clock starts. Writes JSON: rows, seconds, bytes by which memory grew.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from sqlalchemy import text

from core.bidlog.entries import COLUMNS
from core.bootstrap import Services, bootstrap
from core.config import load_settings
from core.orders.export_files import FileFormat
from core.orders.exports import Kind

# Nothing is joined to the rows or asked of their text; what comes is only written.
_COPY = (
    f"COPY (SELECT {', '.join(COLUMNS)} FROM bids WHERE session_id = '{{}}' ORDER BY sequence)"  # noqa: S608 - constants
    " TO STDOUT WITH (FORMAT csv, HEADER)"
)


def main() -> None:
    action, session_id, path = sys.argv[1], UUID(sys.argv[2]), Path(sys.argv[3])
    services = bootstrap(load_settings())
    with services.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    before, start = psutil.Process().memory_info().rss, time.perf_counter()
    rows = run(services, action, session_id, path)
    seconds = time.perf_counter() - start
    # Kilobytes on Linux; the most there ever were.
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    json.dump({"rows": rows, "seconds": seconds, "growth": most - before}, sys.stdout)


def run(services: Services, action: str, session_id: UUID, path: Path) -> int:
    if action != "copy":
        return services.exports.write(session_id, Kind.BIDS, FileFormat(action), path).rows
    connection: Any = services.engine.raw_connection()
    with connection.cursor() as cursor, path.open("wb") as file:
        cursor.copy_expert(_COPY.format(session_id), file)
        return int(cursor.rowcount)


if __name__ == "__main__":
    main()
