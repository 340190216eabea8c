"""Detects, while a session is loaded, what Redis has lost of its bid log.

The stream is the evidence. It is created when the session is loaded, remains when the drain
has emptied it, and keeps its highest id, which is the last sequence given out.

    stream                        conclusion
    at PostgreSQL's offset        nothing is lost
    ahead of it, and empty        exactly the sequences between are lost
    gone, or behind the offset    Redis lost its data; the last sequence is unknown

In the last case sequences continue far above any that can have been given out, so that no
lost bid's sequence is reused. A session that was never loaded or has not started has lost
nothing. Its stream is created before the load is recorded, so that a load that dies in
between does not look like a loss.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.bidlog.incidents import Incident, record
from core.postgres.models import Bid, BiddingSession, BidLogOffset
from core.redis import clock, keys, scripts
from core.redis.scripts import Outcome
from core.telemetry import metrics

# More than a log can hold: this many entries would take 200 GB.
SKIPPED_SEQUENCES = 1_000_000_000


class LoadKind(StrEnum):
    """Whether a session is loaded for the first time."""

    FIRST = "first"
    AGAIN = "again"


# Each starts at 0, so that Prometheus sees the first increase.
for _load in LoadKind:
    metrics.SESSION_LOADS.labels(_load.value)


@dataclass(frozen=True, slots=True)
class _Stream:
    """A session's stream. `last_sequence`: the last one given out; None if it is gone."""

    newest_entry: int
    last_sequence: int | None


def reconcile_with_stream(
    db: Session, redis: Redis, session_id: UUID, token: str
) -> LoadKind | None:
    """Record losses and advance the offset past them, before the session is published.

    Commit before publishing: a loss recorded twice is better than one not recorded. None if
    another process has taken over the load, or the log has entries to drain first.
    """
    offset = db.scalars(
        select(BidLogOffset).where(BidLogOffset.session_id == session_id).with_for_update()
    ).one()
    found = _read_stream(redis, session_id, token)
    if found is None or found.newest_entry:
        return None
    now = clock.now(redis)
    if found.last_sequence is not None and found.last_sequence > offset.persisted_sequence:
        _record_gap(db, offset, found.last_sequence)
    elif found.last_sequence != offset.persisted_sequence:
        if offset.loaded_at is not None and _has_begun(db, session_id, now):
            _record_lost(db, offset)
        elif not _make_log(redis, offset, token):
            return None
    load = LoadKind.FIRST if offset.loaded_at is None else LoadKind.AGAIN
    offset.loaded_at = now
    return load


def _has_begun(db: Session, session_id: UUID, now: datetime) -> bool:
    session = db.get_one(BiddingSession, session_id)
    # A session ended before its start has start_time == end_time.
    return session.start_time < min(session.end_time, now)


def _make_log(redis: Redis, offset: BidLogOffset, token: str) -> bool:
    """Create the log of a session without losses; False if the load was taken over."""
    reply = scripts.make_log(
        redis,
        [keys.session_load(offset.session_id), keys.bid_log(offset.session_id)],
        [token, offset.persisted_sequence],
    )
    return bool(reply[0] == Outcome.LOG_MADE)


def _read_stream(redis: Redis, session_id: UUID, token: str) -> _Stream | None:
    """The stream, read while the caller holds the load; None if it does not."""
    name = keys.bid_log(session_id)
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.get(keys.session_load(session_id))
        pipeline.hexists(keys.session_params(session_id), "status")
        pipeline.xrevrange(name, count=1)
        pipeline.exists(name)
        pipeline.xinfo_stream(name)  # an error if there is no stream
        replies: list[Any] = pipeline.execute(raise_on_error=False)
    holder, is_loaded, entries, exists, information = replies
    for reply in replies if exists else replies[:-1]:
        if isinstance(reply, ResponseError):
            raise reply
    if holder != token or is_loaded:
        return None
    return _Stream(
        newest_entry=_sequence(entries[0][0]) if entries else 0,
        last_sequence=_sequence(information["last-generated-id"]) if exists else None,
    )


def _sequence(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _record_gap(db: Session, offset: BidLogOffset, last_sequence: int) -> None:
    record(
        db,
        offset.session_id,
        Incident.BID_LOG_GAP,
        first_missing=offset.persisted_sequence + 1,
        last_missing=last_sequence,
    )
    offset.persisted_sequence = last_sequence


def _record_lost(db: Session, offset: BidLogOffset) -> None:
    newest_bid_at = db.scalar(
        select(func.max(Bid.accepted_at)).where(
            Bid.session_id == offset.session_id, Bid.sequence == offset.persisted_sequence
        )
    )
    following = offset.persisted_sequence + SKIPPED_SEQUENCES + 1
    record(
        db,
        offset.session_id,
        Incident.REDIS_LOST,
        persisted_sequence=offset.persisted_sequence,
        next_sequence=following,
        last_persisted_bid_at=newest_bid_at and newest_bid_at.isoformat(),
    )
    offset.persisted_sequence = following - 1
    offset.skipped_sequences += SKIPPED_SEQUENCES
