"""Exports: a session's results, bids and offers as files.

An admin asks, a job writes the file, and the admin fetches it by ranges: no reader, however
slow, holds a transaction. A row names its file only when that is complete, so a killed job
leaves nothing that could be taken for an export; beat's sweep starts it again.
"""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import UUID

from redis import Redis
from sqlalchemy import Engine, delete, func, select, update

from core import errors
from core.members.idempotency import store_response
from core.orders import export_files, export_rows
from core.orders.export_files import FileFormat, FileSummary
from core.orders.export_rows import Kind
from core.postgres.database import Database, page_of
from core.postgres.models import Archive, Export
from core.redis import keys, leases
from core.sessions.results import Results
from core.sessions.sessions import Sessions

__all__ = ["ExportState", "ExportView", "Exports", "FileFormat", "Kind"]

KEPT = timedelta(days=7)
# As many rows of results as are answered at once, without an export.
MAX_DIRECT_ROWS = 10_000
# A job that dies each time, for want of memory for example, is given up.
MAX_ATTEMPTS = 5
# Younger files may belong to a job that is still running; none may run for so long.
_ORPHAN_SECONDS = 3600.0
_FOLDER_MODE = 0o700


class ExportState(StrEnum):
    """How far an export is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


_UNFINISHED = (ExportState.WAITING, ExportState.RUNNING)


@dataclass(frozen=True, slots=True)
class ExportView:
    """An export as admins see it."""

    export_id: UUID
    session_id: UUID
    kind: Kind
    file_format: FileFormat
    state: ExportState
    row_count: int | None
    size_bytes: int | None
    sha256: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime

    @property
    def download_name(self) -> str:
        """The name under which a browser stores the file."""
        return f"{self.kind}-{self.session_id}.{self.file_format}"


class Exports:
    """Writes, keeps and finds exports."""

    def __init__(
        self,
        engine: Engine,
        database: Database,
        redis: Redis,
        sessions: Sessions,
        results: Results,
        *,
        folder: Path,
    ) -> None:
        self._engine, self._database, self._redis = engine, database, redis
        self._sessions, self._results = sessions, results
        self._folder = folder

    def request(
        self, session_id: UUID, kind: Kind, file_format: FileFormat, *, requested_by: UUID
    ) -> ExportView:
        """Record the wish for an export. Raises like `_require_rows`."""
        self._require_rows(session_id, kind)
        with self._database.begin() as db:
            export = Export(
                session_id=session_id,
                kind=kind.value,
                file_format=file_format.value,
                requested_by=requested_by,
                expires_at=func.clock_timestamp() + KEPT,
            )
            db.add(export)
            db.flush()
            db.refresh(export)
            requested = _view(export)
            store_response(db, requested)
            return requested

    def get(self, export_id: UUID) -> ExportView:
        """An export. Raises ExportNotFound."""
        return _view(self._row(export_id))

    def list(self, *, page: int, page_size: int) -> tuple[Sequence[ExportView], int]:
        """One page, newest first, and the total count."""
        newest = select(Export).order_by(Export.created_at.desc(), Export.id)
        with self._database.begin() as db:
            rows, total = page_of(db, newest, page=page, page_size=page_size)
        return [_view(row) for row in rows], total

    def file(self, export_id: UUID) -> tuple[ExportView, Path]:
        """A finished export and its file. Raises ExportNotFound, ExportNotReady or ExportFailed."""
        row = self._row(export_id)
        if row.error is not None:
            raise errors.ExportFailed(row.error)
        if row.file_name is None:
            raise errors.ExportNotReady
        path = self._folder / row.file_name
        if not path.exists():
            raise errors.ExportFileMissing
        return _view(row), path

    def make(self, export_id: UUID) -> FileSummary | None:
        """Write an export's file. None if that was done, given up, or is another job's work."""
        with leases.held(self._redis, keys.export_claim(export_id)) as token:
            export = self._begin(export_id) if token is not None else None
            if export is None:
                return None
            name = f"{export_id}.{token_hex(8)}.{export.file_format}"
            try:
                self._folder.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
                path = self._folder / name
                summary = self.write(export.session_id, export.kind, export.file_format, path)
            except OSError as error:
                # A full disk stays full: another attempt is the admin's decision.
                self._fail(export_id, f"The file could not be written: {error.strerror}.")
                return None
            except errors.BidsArchived as refusal:
                self._fail(export_id, refusal.detail)
                return None
            return summary if self._finish(export_id, name, summary) else None

    def write(
        self, session_id: UUID, kind: Kind, file_format: FileFormat, path: Path
    ) -> FileSummary:
        """Write a session's rows to a file. Raises like `_require_rows`, and OSError."""
        self._require_rows(session_id, kind)
        parts = export_rows.parts(self._database, session_id, kind)
        written = export_files.write(self._engine, parts, path, file_format)
        # Bids that were archived meanwhile may be missing.
        self._require_rows(session_id, kind)
        return written

    def results_csv(self, session_id: UUID) -> bytes:
        """Final results as CSV. Raises like Results.get, and ResultsTooLarge."""
        found = self._results.get(session_id, page=1, page_size=1)
        if found.total_bidders > MAX_DIRECT_ROWS:
            raise errors.ResultsTooLarge(found.total_bidders, MAX_DIRECT_ROWS)
        text = io.BytesIO()
        rows = export_rows.public_results(session_id)
        export_files.copy_rows(self._engine, rows, text, FileFormat.CSV)
        return text.getvalue()

    def claim_unfinished(self) -> Sequence[UUID]:
        """Exports without a job, each claimed for one to be enqueued now."""
        unfinished = select(Export.id).where(Export.state.in_(_UNFINISHED))
        with self._database.begin() as db:
            found = db.scalars(unfinished.order_by(Export.created_at)).all()
        return [each for each in found if leases.reserve(self._redis, keys.export_claim(each))]

    def purge(self) -> int:
        """Delete expired exports, and files that no export names; the number of files."""
        with self._database.begin() as db:
            db.execute(delete(Export).where(Export.expires_at <= func.clock_timestamp()))
            named = set(db.scalars(select(Export.file_name).where(Export.file_name.is_not(None))))
        orphans = [path for path in self._folder.glob("*") if path.name not in named]
        return sum(_delete_if_old(path) for path in orphans)

    def _require_rows(self, session_id: UUID, kind: Kind) -> None:
        """Bids may be exported until they are archived, results and offers when they are final.

        Raises SessionNotFound, BidsArchived, SessionNotEnded or ResultsPending.
        """
        if kind is Kind.BIDS:
            self._sessions.get(session_id)
            with self._database.begin() as db:
                if db.get(Archive, session_id):
                    raise errors.BidsArchived
        else:
            self._results.get(session_id, page=1, page_size=1)

    def _row(self, export_id: UUID) -> Export:
        with self._database.begin() as db:
            row = db.get(Export, export_id)
        if row is None:
            raise errors.ExportNotFound
        return row

    def _begin(self, export_id: UUID) -> ExportView | None:
        """Count an attempt. None if there is nothing to do."""
        with self._database.begin() as db:
            row = db.get(Export, export_id, with_for_update=True)
            if row is None or row.state not in _UNFINISHED:
                return None
            if row.attempts < MAX_ATTEMPTS:
                row.attempts += 1
                row.state = ExportState.RUNNING
                return _view(row)
        self._fail(export_id, f"It was interrupted {MAX_ATTEMPTS} times. Try again later.")
        return None

    def _finish(self, export_id: UUID, name: str, summary: FileSummary) -> bool:
        """Name the file. False if another job was first: then that one's file counts."""
        return self._settle(
            export_id,
            state=ExportState.DONE.value,
            file_name=name,
            row_count=summary.rows,
            size_bytes=summary.size_bytes,
            sha256=summary.sha256,
        )

    def _fail(self, export_id: UUID, sentence: str) -> None:
        self._settle(export_id, state=ExportState.FAILED.value, error=sentence)

    def _settle(self, export_id: UUID, **values: Any) -> bool:
        settled = (
            update(Export)
            .where(Export.id == export_id, Export.state.in_(_UNFINISHED))
            .values(finished_at=func.clock_timestamp(), **values)
            .returning(Export.id)
        )
        with self._database.begin() as db:
            return db.scalar(settled) is not None


def _delete_if_old(path: Path) -> bool:
    try:
        is_old = time.time() - path.stat().st_mtime > _ORPHAN_SECONDS
        if is_old:
            path.unlink()
    except FileNotFoundError:
        return False
    return is_old


def _view(row: Export) -> ExportView:
    return ExportView(
        export_id=row.id,
        session_id=row.session_id,
        kind=Kind(row.kind),
        file_format=FileFormat(row.file_format),
        state=ExportState(row.state),
        row_count=row.row_count,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
    )
