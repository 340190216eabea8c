"""Compares exporting a session's bids with PostgreSQL's own COPY of the same rows."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from core.config import PROJECT_ROOT
from core.orders.export_files import FileFormat
from dev.bench.runs.close import BIDS, MEMBERS, CloseRuns
from dev.bench.runs.drain import TIMEOUT_SECONDS
from dev.bench.servers.stack import open_session
from dev.errors import DevError

_MIB = 1024 * 1024


class ExportRuns(CloseRuns):
    """Exports bids that are in PostgreSQL, each time in a separate process."""

    def run(self) -> None:
        options, session_id = self._options, open_session(self._services)
        print(f"  export: creating {options.close_bids:,} bids", flush=True)
        self._execute("TRUNCATE users, reminders, bids")
        self._execute(MEMBERS, bidders=options.close_bidders)
        bids = {"bids": options.close_bids, "bidders": options.close_bidders}
        self._execute(BIDS, session_id=session_id, **bids)
        self._execute("VACUUM ANALYZE users, bids")
        for number in range(1, self._options.rounds + 1):
            copied = self._run(session_id, "copy")
            found = {each: self._run(session_id, each) for each in FileFormat}
            slower = max(found.values(), key=lambda each: each["seconds"])
            self._figures.add("copy s", copied["seconds"])
            self._figures.add("export s", slower["seconds"])
            self._figures.add("export MiB", max(each["growth"] for each in found.values()) / _MIB)
            print(
                f"  export, round {number} of {self._options.rounds}: "
                f"COPY {copied['seconds']:.2f} s, "
                + ", ".join(f"{name} {each['seconds']:.2f} s" for name, each in found.items()),
                flush=True,
            )

    def _run(self, session_id: UUID, action: str) -> dict[str, float]:
        """Rows, seconds and growth of memory of `copy` or of an export in a format."""
        self._execute("CHECKPOINT")
        path = Path(self._servers.folder, "export")
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "dev.bench.runs.export_process"),
                *(action, str(session_id), str(path)),
            ],
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
        path.unlink()
        found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
        expected = self._options.close_bids
        self._figures.check(
            found["rows"] == expected, f"{action}: {found['rows']} of {expected} rows"
        )
        return found
