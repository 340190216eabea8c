"""Drains the bid log: from a Redis stream into the append-only table `bids`.

PostgreSQL holds the offset. It advances in the transaction that inserts the batch, and the
log is trimmed after that commit: a crash repeats a read, never a row, and loses none. The
lock on the offset's row allows one drain per session; PostgreSQL releases it if the holder
dies.

core/bidlog/rewind.py finds the new entries after sequences were given out twice.
"""

import io
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from redis import Redis
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import errors
from core.bidlog.entries import COLUMNS, Entry, LoggedBid, sequence_of, storable
from core.bidlog.incidents import Incident, record
from core.bidlog.rewind import PendingBid, assign_sequences, new_entries, report_gaps, report_rewind
from core.postgres.database import Database
from core.postgres.models import BiddingSession, BidLogOffset
from core.redis import clock, keys, scripts
from core.redis.replication import Replication
from core.telemetry import metrics

log = structlog.get_logger(__name__)

_COPY = f"COPY bids ({', '.join(COLUMNS)}) FROM STDIN"
# How long a scheduled drain is expected to start. After that the next bid or the sweep
# schedules another, in case the job was lost.
DRAIN_TRUST_US = 5_000_000
# A close's pause between attempts while another drain holds the lock.
_TURN_WAIT_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of one transaction of a drain.

    `handled_through`: the log's entries up to this one are in PostgreSQL; 0: none. Counted
    by entry ids, which are below `persisted_sequence` after a rewind.
    """

    rows: int
    persisted_sequence: int
    handled_through: int


@dataclass(frozen=True, slots=True)
class Drained:
    """The result of one drain. `unfinished`: its time ran out with entries left."""

    rows: int
    unfinished: bool = False


class BidLog:
    """Drains bid logs into PostgreSQL."""

    def __init__(
        self,
        database: Database,
        redis: Redis,
        *,
        batch_size: int,
        replication: Replication | None = None,
    ) -> None:
        self._database = database
        self._replication = replication
        self._redis = redis
        self._batch_size = batch_size

    def drain(self, session_id: UUID, *, seconds: float) -> Drained:
        """Persist one session's log until it is empty, for at most `seconds`.

        Returns at once while another drain of the session is active: that one reads the log
        again after each commit, so nothing is left behind. Stops early if the next drain is
        already scheduled: during a sale the log is never empty, and reading on would only
        make batches small.
        """
        give_up_at = time.monotonic() + seconds
        # First: any later bid must schedule a new drain.
        self._redis.hdel(keys.session_params(session_id), "drain_trusted_until")
        rows = 0
        while self._redis.xlen(keys.bid_log(session_id)):
            batch = self.run_once(session_id)
            if batch is None:
                break
            rows += batch.rows
            if batch.rows < self._batch_size and self._is_scheduled(session_id):
                break
            if time.monotonic() > give_up_at:
                return Drained(rows, unfinished=True)
        return Drained(rows)

    def _is_scheduled(self, session_id: UUID) -> bool:
        """Whether a drain is scheduled but not started: starting clears the mark."""
        return bool(self._redis.hexists(keys.session_params(session_id), "drain_trusted_until"))

    def run_once(self, session_id: UUID) -> Batch | None:
        """Persist one batch; None while another drain of the session is active."""
        started_at = time.monotonic()
        with self._database.begin() as db:
            offset = db.scalar(
                select(BidLogOffset.persisted_sequence)
                .where(BidLogOffset.session_id == session_id)
                .with_for_update(skip_locked=True)
            )
            if offset is None:
                return None
            batch = self._persist_next(db, session_id, offset)
        self._trim(session_id, batch.handled_through)
        if batch.rows:
            metrics.DRAIN_SECONDS.observe(time.monotonic() - started_at)
            metrics.DRAIN_ROWS.observe(batch.rows)
            metrics.BIDS_PERSISTED.inc(batch.rows)
        return batch

    def persist_through(self, session_id: UUID, sequence: int, *, seconds: float) -> None:
        """Persist all bids up to `sequence`, taking turns with other drains.

        The gate must be shut. Sequences that Redis gave out but has lost are recorded as a
        gap, so that they cannot block the close. Raises TemporarilyUnavailable after `seconds`.
        """
        give_up_at = time.monotonic() + seconds
        while True:
            batch = self.run_once(session_id)
            if batch is None:
                time.sleep(_TURN_WAIT_SECONDS)
            elif batch.persisted_sequence >= sequence:
                if not self._lags_behind(session_id, batch.persisted_sequence):
                    return
            elif batch.rows == 0 and not self._redis.xlen(keys.bid_log(session_id)):
                self._give_up_missing(session_id, sequence)
                return
            if time.monotonic() > give_up_at:
                raise errors.TemporarilyUnavailable("The bid log is still being drained.")

    def claim_backlogged(self) -> list[UUID]:
        """Open sessions with log entries and no scheduled drain.

        The caller must drain them: claimed sessions are not returned again for a while.
        """
        with self._database.begin() as db:
            session_ids = list(
                db.scalars(select(BiddingSession.id).where(BiddingSession.may_have_log()))
            )
        now_us = clock.to_microseconds(clock.now(self._redis))
        with self._redis.pipeline(transaction=False) as pipeline:
            for session_id in session_ids:
                pipeline.xlen(keys.bid_log(session_id))
                pipeline.hmget(keys.session_params(session_id), "status", "drain_trusted_until")
            replies: list[Any] = pipeline.execute()
        claimed = []
        waiting = zip(session_ids, replies[::2], replies[1::2], strict=True)
        for session_id, length, (status, trusted_until) in waiting:
            # A mark too far ahead was set before the clock was set back.
            if not length or now_us < int(trusted_until or 0) <= now_us + DRAIN_TRUST_US:
                continue
            claimed.append(session_id)
            if status is not None:
                self._redis.hset(
                    keys.session_params(session_id),
                    "drain_trusted_until",
                    now_us + DRAIN_TRUST_US,
                )
        return claimed

    def unpersisted(
        self, session_ids: Iterable[UUID], user_id: UUID, *, look_back: int
    ) -> list[LoggedBid]:
        """A member's bids among the newest `look_back` entries of each session's log."""
        bids = []
        for session_id in self._with_bid_of(user_id, session_ids):
            entries: list[Entry] = self._redis.xrevrange(  # type: ignore[assignment]
                keys.bid_log(session_id), count=look_back
            )
            for entry in entries:
                if entry[1].get("user_id") == str(user_id):
                    # The drain reports malformed entries.
                    with suppress(ValueError):
                        bids.append(LoggedBid.parse(session_id, entry))
        return bids

    def _with_bid_of(self, user_id: UUID, session_ids: Iterable[UUID]) -> list[UUID]:
        """Those of the sessions in which the member has a standing bid."""
        asked = list(session_ids)
        with self._redis.pipeline(transaction=False) as pipeline:
            for session_id in asked:
                pipeline.exists(keys.standing_bid(session_id, user_id))
            return [
                session_id
                for session_id, has_bid in zip(asked, pipeline.execute(), strict=True)
                if has_bid
            ]

    def _lags_behind(self, session_id: UUID, offset: int) -> bool:
        """Whether a rewound log has entries at or below the offset."""
        return bool(self._redis.xrange(keys.bid_log(session_id), max=f"{offset}-0", count=1))

    def _persist_next(self, db: Session, session_id: UUID, offset: int) -> Batch:
        """Insert the next entries and move the offset, in the caller's transaction."""
        read = new = self._read(session_id)
        if read and sequence_of(read[0][0]) <= offset:
            # A trim was missed, or sequences were given out twice.
            new = new_entries(db, session_id, read)
            first = sequence_of(new[0][0]) if new else sequence_of(read[-1][0]) + 1
            if first > offset:
                # Skip the entries that only need trimming: read a full batch behind them.
                new = self._read(session_id, first=f"{first}-0")
                read = new or read
            elif new:
                read = new = self._read_rewound(db, session_id, first=new[0][0])
        due = assign_sequences(new, offset)
        return Batch(
            rows=self._store(db, session_id, offset, due) if due else 0,
            persisted_sequence=due[-1].sequence if due else offset,
            handled_through=sequence_of(read[-1][0]) if read else 0,
        )

    def _read(self, session_id: UUID, *, first: str = "-") -> list[Entry]:
        name = keys.bid_log(session_id)
        return self._redis.xrange(name, min=first, count=self._batch_size)  # type: ignore[return-value]

    def _read_rewound(self, db: Session, session_id: UUID, *, first: str) -> list[Entry]:
        """New entries of a log in which sequences were given out twice.

        Deletes the params, so that the session accepts no bids until it is loaded again:
        the rewind ends with this batch, or with the last if they do not fit into one.
        """
        self._redis.delete(keys.session_params(session_id))
        return new_entries(db, session_id, self._read(session_id, first=first))

    def _store(self, db: Session, session_id: UUID, offset: int, due: Sequence[PendingBid]) -> int:
        """Insert the bids and advance the offset; returns the number of rows."""
        if self._replication:
            # PostgreSQL must not have a bid that a failover could undo.
            self._replication.confirm(keys.bid_log(session_id))
        report_rewind(db, session_id, offset, due)
        report_gaps(db, session_id, offset, due)
        bids = self._checked(db, session_id, due)
        _copy(db, bids)
        self._note_late(db, session_id, bids)
        _move_offset(db, session_id, due[-1].sequence)
        return len(bids)

    def _note_late(self, db: Session, session_id: UUID, bids: Sequence[LoggedBid]) -> None:
        """Record bids accepted after the end, and shut the gate again."""
        end = db.scalars(
            select(BiddingSession.end_time).where(BiddingSession.id == session_id)
        ).one()
        late = [bid.sequence for bid in bids if bid.accepted_at > end]
        if late:
            details = {"end_time": end.isoformat(), "sequences": late}
            record(db, session_id, Incident.BIDS_AFTER_END, **details)
            # Before the commit: if this fails, the batch is repeated.
            self._shut_gate(session_id, end)

    def _shut_gate(self, session_id: UUID, end: datetime) -> None:
        """Shut the gate of a session whose end Redis has lost.

        As a loaded session it is closed again by the next tick, which publishes its results
        once more.
        """
        self._redis.sadd(keys.LOADED_SESSIONS, str(session_id))
        params = keys.session_params(session_id)
        scripts.shut_gate(self._redis, [params], ["due", clock.to_microseconds(end)])
        if self._replication:
            self._replication.confirm(params)

    def _trim(self, session_id: UUID, handled_through: int) -> None:
        self._redis.xtrim(
            keys.bid_log(session_id), minid=f"{handled_through + 1}-0", approximate=False
        )

    def _checked(self, db: Session, session_id: UUID, due: Sequence[PendingBid]) -> list[LoggedBid]:
        """Parse entries. Malformed ones are set aside, so that they cannot block the drain."""
        bids = []
        for entry, _, sequence in due:
            try:
                bids.append(LoggedBid.parse(session_id, entry, sequence))
            except ValueError as error:
                record(
                    db,
                    session_id,
                    Incident.ENTRY_SET_ASIDE,
                    id=entry[0],
                    sequence=sequence,
                    fields=storable(entry[1]),
                    reason=str(error).replace("\0", r"\x00"),
                )
        return bids

    def _give_up_missing(self, session_id: UUID, sequence: int) -> None:
        """Record the sequences still missing up to `sequence`, unless done meanwhile."""
        with self._database.begin() as db:
            offset = db.scalars(
                select(BidLogOffset.persisted_sequence)
                .where(BidLogOffset.session_id == session_id)
                .with_for_update()
            ).one()
            if offset >= sequence:
                return
            record(
                db,
                session_id,
                Incident.BID_LOG_GAP,
                first_missing=offset + 1,
                last_missing=sequence,
            )
            _move_offset(db, session_id, sequence)


def _copy(db: Session, bids: Iterable[LoggedBid]) -> None:
    """Append rows with COPY, several times as fast as INSERT."""
    lines = io.StringIO("".join([bid.copy_line() for bid in bids]))
    cursor: Any = db.connection().connection.cursor()
    with cursor:
        cursor.copy_expert(_COPY, lines)


def _move_offset(db: Session, session_id: UUID, sequence: int) -> None:
    db.execute(
        update(BidLogOffset)
        .where(BidLogOffset.session_id == session_id)
        .values(persisted_sequence=sequence)
    )
