"""Compares the drain with a plain batched INSERT of the same rows."""

import json
import subprocess
import sys
from uuid import UUID

from sqlalchemy import text

from core.config import PROJECT_ROOT
from dev.bench.data.fill import fill_log
from dev.bench.runs.drain_process import TABLE
from dev.bench.runs.runs import Runs
from dev.bench.servers.stack import open_session
from dev.errors import DevError

# Rows per INSERT; the fastest size is the reference.
PAGE_SIZES = (200, 500, 1000, 2500, 5000)
TIMEOUT_SECONDS = 300


class DrainRuns(Runs):
    """Drains a filled log, then inserts the same rows plainly, each in a separate process."""

    def run(self) -> None:
        self._execute(f"CREATE TABLE {TABLE} (LIKE bids INCLUDING ALL)")
        page_size = self._best_page_size()
        print(f"  drain: the plain INSERT is fastest with {page_size} rows each", flush=True)
        for number in range(1, self._options.rounds + 1):
            session_id = self._filled_session()
            drained = self._rate("drain", session_id)
            inserted = self._rate("insert", session_id, page_size)
            self._figures.add("drained rows/s", drained)
            self._figures.add("inserted rows/s", inserted)
            print(
                f"  drain, round {number} of {self._options.rounds}: "
                f"drained {drained:,.0f}, inserted {inserted:,.0f} rows/s",
                flush=True,
            )

    def _best_page_size(self) -> int:
        session_id = self._filled_session()
        self._rate("drain", session_id)
        rates = {size: self._rate("insert", session_id, size) for size in PAGE_SIZES}
        return max(rates, key=lambda size: rates[size])

    def _filled_session(self) -> UUID:
        """An open session with a full, undrained log; `bids` is empty."""
        self._execute("TRUNCATE bids")
        session_id = open_session(self._services)
        fill_log(
            self._services.redis,
            session_id,
            bids=self._options.drain_rows,
            bidders=self._options.drain_rows // 5,
        )
        return session_id

    def _rate(self, action: str, session_id: UUID, *arguments: int) -> float:
        """Rows per second of `action`, drain or insert."""
        self._execute(f"TRUNCATE {TABLE}")
        self._execute("CHECKPOINT")
        command = [sys.executable, "-m", "dev.bench.runs.drain_process", action, str(session_id)]
        ended = subprocess.run(
            [*command, *map(str, arguments)],
            check=False,
            cwd=PROJECT_ROOT,
            env=self._servers.environ,
            start_new_session=True,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            text=True,
        )
        if ended.returncode != 0:
            raise DevError(f"The {action} failed:\n{ended.stderr}")
        found = json.loads(ended.stdout.splitlines()[-1])
        self._figures.check(
            found["rows"] == self._options.drain_rows,
            f"{action}: {found['rows']} of {self._options.drain_rows} rows",
        )
        return float(found["rows"] / found["seconds"])

    def _execute(self, statement: str) -> None:
        with self._services.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(statement))
