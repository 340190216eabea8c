"""Notices, when a session is loaded, what Redis has lost of its bid log.

The stream itself is the witness. It is made when the session is loaded, stays when the
drain has emptied it, and remembers its highest id, which is the last sequence given out.

    the stream                    what it proves
    at PostgreSQL's offset        nothing is lost
    ahead of it, and empty        exactly the sequences between are lost
    gone, or behind the offset    Redis lost its data: nobody knows what was given out

In the last case sequences go on far above all that can have been given out, so that no
lost bid's place is ever another bid's. A session never loaded before has lost nothing,
nor has one that has not begun; its stream is made before that is written down, so that a
load that dies in between leaves nothing that looks like a loss.
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

from core.bidlog.incidents import Event, record
from core.postgres.models import Bid, BiddingSession, BidLogOffset
from core.redis import clock, keys, scripts
from core.redis.scripts import Outcome
from core.telemetry import metrics

# More than a log can hold: with so many entries it would be 200 GB.
SKIPPED_SEQUENCES = 1_000_000_000


class Load(StrEnum):
    """Whether Redis is given a session for the first time."""

    FIRST = "first"
    AGAIN = "again"


# From the first load on Prometheus must see them rise, so each begins at 0.
for _load in Load:
    metrics.SESSION_LOADS.labels(_load.value)


@dataclass(frozen=True, slots=True)
class _Log:
    """A session's stream. `last_sequence`: the last one given out; None when it is gone."""

    newest_entry: int
    last_sequence: int | None


def settle(db: Session, redis: Redis, session_id: UUID, token: str) -> Load | None:
    """Record what is lost, and move the offset over it, before the session is published.

    Commit before publishing: a loss that is recorded twice is better than one that is
    not. None when another process has taken the load over, or the log has entries
    that must be drained first.
    """
    offset = db.scalars(
        select(BidLogOffset).where(BidLogOffset.session_id == session_id).with_for_update()
    ).one()
    found = _look(redis, session_id, token)
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
    load = Load.FIRST if offset.loaded_at is None else Load.AGAIN
    offset.loaded_at = now
    return load


def _has_begun(db: Session, session_id: UUID, now: datetime) -> bool:
    session = db.get_one(BiddingSession, session_id)
    # One that was ended before its start has its end for a start.
    return session.start_time < min(session.end_time, now)


def _make_log(redis: Redis, offset: BidLogOffset, token: str) -> bool:
    """Make the log that nothing is missing from; False when the load was taken over."""
    reply = scripts.make_log(
        redis,
        [keys.session_load(offset.session_id), keys.bid_log(offset.session_id)],
        [token, offset.persisted_sequence],
    )
    return bool(reply[0] == Outcome.LOG_MADE)


def _look(redis: Redis, session_id: UUID, token: str) -> _Log | None:
    """The log at one moment, in which the caller held the load; None when it did not."""
    name = keys.bid_log(session_id)
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.get(keys.session_load(session_id))
        pipeline.hexists(keys.session_params(session_id), "status")
        pipeline.xrevrange(name, count=1)
        pipeline.exists(name)
        pipeline.xinfo_stream(name)  # an error when there is none
        replies: list[Any] = pipeline.execute(raise_on_error=False)
    holder, is_loaded, entries, exists, information = replies
    for reply in replies if exists else replies[:-1]:
        if isinstance(reply, ResponseError):
            raise reply
    if holder != token or is_loaded:
        return None
    return _Log(
        newest_entry=_sequence(entries[0][0]) if entries else 0,
        last_sequence=_sequence(information["last-generated-id"]) if exists else None,
    )


def _sequence(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _record_gap(db: Session, offset: BidLogOffset, last_sequence: int) -> None:
    record(
        db,
        offset.session_id,
        Event.BID_LOG_GAP,
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
        Event.REDIS_LOST,
        persisted_sequence=offset.persisted_sequence,
        next_sequence=following,
        last_persisted_bid_at=newest_bid_at and newest_bid_at.isoformat(),
    )
    offset.persisted_sequence = following - 1
    offset.skipped_sequences += SKIPPED_SEQUENCES
