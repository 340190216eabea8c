"""Archives the bids of settled sessions: moves them from `bids` into files.

A file is written, read back and compared with the table; then `archives` names it, in the
transaction that gives it its final name; only then are the bids deleted whose keys it holds. A
file that is not recorded is never trusted. A run that is killed is repeated from the last of
these steps.

A lease lets one run work at a time. Two would do no harm: the primary key of `archives` lets
one of them record its file, and no bid is deleted before that.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import UUID

import structlog
from redis import Redis
from sqlalchemy import Engine, Select, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.bidlog.incidents import losses
from core.orders import export_files
from core.orders.export_files import FileFormat, FileSummary
from core.postgres.database import Database
from core.postgres.models import Archive, Bid, BidLogOffset
from core.redis import keys, leases

log = structlog.get_logger(__name__)

# Rows of one snapshot; a million take PostgreSQL a few seconds.
_PART_ROWS = 500_000
# Bids deleted in one transaction.
_BATCH_ROWS = 500
# In this order, `\copy bids FROM` restores them.
_COLUMNS = tuple(Bid.__table__.columns)
_SEQUENCE = [column.key for column in _COLUMNS].index("sequence")

# Sessions closed or cancelled long ago that have bids, or whose archive is unfinished.
_CANDIDATES = text("""
    SELECT s.id AS session_id, p.name, o.persisted_sequence - o.skipped_sequences AS bids,
           CASE WHEN s.published_at IS NULL OR s.status = 'ended' AND s.weighed_at IS NULL
                THEN 'its results are not complete'
                WHEN EXISTS (SELECT FROM announcements
                              WHERE session_id = s.id AND finished_at IS NULL)
                THEN 'its bidders are not yet notified'
                WHEN EXISTS (SELECT FROM offers WHERE session_id = s.id AND state = 'open')
                THEN 'it has an open offer'
                WHEN EXISTS (SELECT FROM email_deliveries e JOIN notifications n
                                 ON n.id = e.notification_id
                              WHERE n.session_id = s.id AND e.next_attempt_at IS NOT NULL)
                  OR EXISTS (SELECT FROM webhook_deliveries
                              WHERE session_id = s.id AND next_attempt_at IS NOT NULL)
                  OR EXISTS (SELECT FROM shop_events
                              WHERE session_id = s.id AND delivered_at IS NULL)
                THEN 'a delivery is waiting'
           END AS obstacle
      FROM sessions s
      JOIN products p ON p.id = s.product_id
      JOIN bid_log_offsets o ON o.session_id = s.id
      LEFT JOIN archives a ON a.session_id = s.id
     WHERE coalesce(s.closed_at, s.cancelled_at) <= now() - :older_than
       AND a.finished_at IS NULL
       AND (a.session_id IS NOT NULL OR EXISTS (SELECT FROM bids WHERE session_id = s.id))
     ORDER BY s.end_time, s.id
""")
# Results of older versions lack what their scores were computed from.
_KEEP_TERMS = text("""
    UPDATE rankings r SET response_time = b.response_time, weight = b.weight
      FROM bids b
     WHERE r.session_id = :session_id AND (r.response_time IS NULL OR r.weight IS NULL)
       AND b.session_id = r.session_id AND b.sequence = r.sequence
""")


class NotArchived(Exception):
    """Why a session's bids were not archived, or not deleted, in a sentence."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A session that is over. `obstacle`: why it is not settled yet; None: it is."""

    session_id: UUID
    name: str
    bids: int
    obstacle: str | None


class Archiving:
    """Archives bids."""

    def __init__(self, engine: Engine, database: Database, redis: Redis) -> None:
        self._engine = engine
        self._database = database
        self._redis = redis

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The turn to archive. Raises NotArchived while another process has it."""
        with leases.held(self._redis, keys.ARCHIVING) as token:
            if token is None:
                raise NotArchived("Another archive is running. Try again when it has finished.")
            yield

    def candidates(self, older_than: timedelta) -> Sequence[Candidate]:
        """Sessions with bids that were closed or cancelled longer ago, the oldest first."""
        with self._database.begin() as db:
            rows = db.execute(_CANDIDATES, {"older_than": older_than}).all()
        return [
            Candidate(row.session_id, row.name, row.bids, row.obstacle or self._undrained(row))
            for row in rows
        ]

    def archive(self, session_id: UUID, folder: Path) -> Archive:
        """Move a settled session's bids into a file in the folder. Safe to repeat.

        Raises NotArchived, and OSError if the folder cannot be used.
        """
        _remove_leftovers(session_id, folder)
        archive = self._recorded(session_id) or self._export(session_id, folder)
        self._delete_bids(archive)
        self._finish(archive)
        log.info("bids_archived", session_id=str(session_id), bids=archive.row_count)
        return archive

    def _undrained(self, row: Any) -> str | None:
        has_entries = self._redis.xlen(keys.bid_log(row.session_id))
        return "its bid log is not drained" if has_entries else None

    def _recorded(self, session_id: UUID) -> Archive | None:
        """The archive of a run that was interrupted; None to begin anew.

        If its file is gone or damaged, that is possible only before the first bid is deleted.
        """
        with self._database.begin() as db:
            archive = db.get(Archive, session_id, with_for_update=True)
            if archive is None or _is_intact(archive):
                return archive
            stored = select(func.count()).where(
                Bid.session_id == session_id, Bid.sequence <= archive.last_sequence
            )
            if db.scalar(stored) != archive.row_count:
                raise NotArchived(
                    f"{archive.file} is missing or damaged, and some of its bids are already "
                    "deleted. Restore it from a copy."
                )
            db.delete(archive)
        return None

    def _export(self, session_id: UUID, folder: Path) -> Archive:
        path = folder / f"bids-{session_id}.{token_hex(8)}"
        try:
            written = export_files.write(
                self._engine, self._parts(session_id), path, FileFormat.CSV
            )
            first, last = self._compare(session_id, path, written)
            return self._record(session_id, path, written, first, last)
        finally:
            path.unlink(missing_ok=True)

    def _parts(self, session_id: UUID) -> Iterator[Select[Any]]:
        """The bids in parts. Settled ones never change, so that they need no common snapshot."""
        last = 0
        while True:
            following = select(Bid.sequence).where(
                Bid.session_id == session_id, Bid.sequence > last
            )
            part = following.order_by(Bid.sequence).limit(_PART_ROWS).subquery()
            with self._database.begin() as db:
                end = db.scalar(select(func.max(part.c.sequence)))
            if end is None:
                return
            yield _between(session_id, last, end, *_COLUMNS)
            last = end

    def _compare(self, session_id: UUID, path: Path, written: FileSummary) -> tuple[int, int]:
        """Read the file back, and find each of its keys, and no other, in the table.

        Returns the first and the last.
        """
        if export_files.read_back(path, FileFormat.CSV) != written:
            raise NotArchived(f"{path.parent} does not return what was written to it.")
        first = last = 0
        for sequences in _sequences(path):
            with self._database.begin() as db:
                stored = db.scalars(_between(session_id, last, sequences[-1], Bid.sequence)).all()
            if stored != sequences:
                raise NotArchived(
                    f"The file's bids {sequences[0]} to {sequences[-1]} are not those stored."
                )
            first, last = first or sequences[0], sequences[-1]
        return first, last

    def _record(
        self, session_id: UUID, path: Path, written: FileSummary, first: int, last: int
    ) -> Archive:
        """Give the file its final name, in the transaction that records it."""
        final = path.with_name(f"bids-{session_id}-{written.sha256[:16]}.csv").resolve()
        with self._database.begin() as db:
            _require_complete(db, session_id, written.rows)
            archive: Archive | None = db.scalar(
                insert(Archive)
                .values(
                    session_id=session_id,
                    file=str(final),
                    row_count=written.rows,
                    sha256=written.sha256,
                    first_sequence=first,
                    last_sequence=last,
                )
                .on_conflict_do_nothing()
                .returning(Archive)
            )
            if archive is None:
                raise NotArchived("Another run is archiving this session.")
            db.execute(_KEEP_TERMS, {"session_id": session_id})
            path.replace(final)
            export_files.sync_folder(final.parent)
        return archive

    def _delete_bids(self, archive: Archive) -> None:
        for sequences in _sequences(Path(archive.file)):
            with self._database.begin() as db:
                _require_recorded(db, archive)
                db.execute(
                    delete(Bid).where(
                        Bid.session_id == archive.session_id, Bid.sequence.in_(sequences)
                    )
                )

    def _finish(self, archive: Archive) -> None:
        with self._database.begin() as db:
            db.execute(
                update(Archive)
                .where(Archive.session_id == archive.session_id)
                .values(finished_at=func.now())
            )


def _remove_leftovers(session_id: UUID, folder: Path) -> None:
    """Remove files that killed runs left: those that are recorded have a hyphen behind the id."""
    for leftover in folder.glob(f"bids-{session_id}.*"):
        leftover.unlink(missing_ok=True)


def _between(session_id: UUID, after: int, last: int, *columns: Any) -> Select[Any]:
    """A session's bids behind sequence `after`, up to `last`, in their order."""
    in_range = (Bid.session_id == session_id, Bid.sequence > after, Bid.sequence <= last)
    return select(*columns).where(*in_range).order_by(Bid.sequence)


def _sequences(path: Path) -> Iterator[list[int]]:
    """The sequences in an archive's file, in batches."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = islice(csv.reader(file), 1, None)
        while batch := [int(row[_SEQUENCE]) for row in islice(rows, _BATCH_ROWS)]:
            yield batch


def _is_intact(archive: Archive) -> bool:
    """Whether the file is the one that was recorded."""
    try:
        found = export_files.read_back(Path(archive.file), FileFormat.CSV)
    except OSError:
        return False
    return (found.rows, found.sha256) == (archive.row_count, archive.sha256)


def _require_complete(db: Session, session_id: UUID, rows: int) -> None:
    """Each sequence that was given out is a row, or recorded as lost."""
    offset = db.get_one(BidLogOffset, session_id).persisted_sequence
    lost = sum(loss.last - loss.first + 1 for loss in losses(db, session_id))
    if rows + lost != offset:
        raise NotArchived(
            f"{rows} bids are stored and {lost} are recorded as lost, but {offset} sequences were "
            f"given out. Run `flask --app web verify {session_id}`."
        )


def _require_recorded(db: Session, archive: Archive) -> None:
    """Another run may have found the file damaged, and begun anew."""
    recorded = select(Archive.sha256).where(Archive.session_id == archive.session_id)
    if db.scalar(recorded.with_for_update()) != archive.sha256:
        raise NotArchived("Another run is archiving this session.")
