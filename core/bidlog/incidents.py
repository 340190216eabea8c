"""Incidents that an operator may have to explain later, in `session_events` and the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.postgres.models import BiddingSession, SessionEvent, ShopEvent
from core.telemetry import metrics

log = structlog.get_logger(__name__)


class Incident(StrEnum):
    """The kinds of incidents, with their details."""

    # first_missing, last_missing: given out by Redis, but in no log. taken_through, after a
    # rewind: sequences up to this one belong to other bids.
    BID_LOG_GAP = "bid_log_gap"
    # id, sequence, fields, reason: of a malformed entry.
    ENTRY_SET_ASIDE = "bid_log_entry_set_aside"
    # persisted_sequence: the offset before these bids; moved: entry id, with the sequence
    # its member was given -> sequence of the stored bid.
    REDIS_REWOUND = "redis_rewound"
    # persisted_sequence, next_sequence: accepted bids between the two are lost;
    # last_persisted_bid_at: they were accepted after this.
    REDIS_LOST = "redis_lost"
    # end_time, sequences: of bids accepted after an early end that Redis had lost. They are
    # in `bids` but do not count.
    BIDS_AFTER_END = "bids_after_end"


# Each starts at 0, so that Prometheus sees the first increase.
for _kind in Incident:
    metrics.SESSION_EVENTS.labels(_kind.value)


@dataclass(frozen=True, slots=True)
class Loss:
    """A range of sequences, ends included, missing from `bids` for a recorded reason."""

    first: int
    last: int
    kind: str

    def __contains__(self, sequence: int) -> bool:
        return self.first <= sequence <= self.last

    def __str__(self) -> str:
        return f"sequences {self.first} to {self.last} are recorded as {self.kind}"


def record(db: Session, session_id: UUID, kind: Incident, **details: Any) -> None:
    """Log an incident as an error, and store it."""
    log.error(kind.value, session_id=str(session_id), **details)
    metrics.SESSION_EVENTS.labels(kind.value).inc()
    incident = SessionEvent(session_id=session_id, kind=kind.value, details=details)
    db.add(incident)
    if loss := _loss(incident):
        db.add(_told(session_id, loss))


def _told(session_id: UUID, loss: Loss) -> ShopEvent:
    """The shop's systems hear of accepted bids that are lost."""
    version = select(BiddingSession.version).where(BiddingSession.id == session_id)
    return ShopEvent(
        event="bids.lost",
        session_id=session_id,
        subject_id=session_id,
        version=version.scalar_subquery(),
        data={
            "session_id": str(session_id),
            "reason": loss.kind,
            "first_sequence": loss.first,
            "last_sequence": loss.last,
        },
    )


# Sequences of bids accepted after the session's end, by `:session_id`. Unlike a comparison of
# times, they are exact even if a clock was set back.
LATE_SEQUENCES = f"""
    SELECT jsonb_array_elements_text(details -> 'sequences')::bigint
      FROM session_events
     WHERE session_id = :session_id AND kind = '{Incident.BIDS_AFTER_END.value}'
"""  # noqa: S608 - a constant


def late_sequences(db: Session, session_id: UUID) -> frozenset[int]:
    """Sequences of bids accepted after the session's end, which do not count."""
    return frozenset(db.scalars(text(LATE_SEQUENCES), {"session_id": session_id}))


_MOVED_SEQUENCES = f"""
    SELECT moved.value::bigint
      FROM session_events, jsonb_each_text(details -> 'moved') moved
     WHERE session_id = :session_id AND kind = '{Incident.REDIS_REWOUND.value}'
"""  # noqa: S608 - a constant


def moved_sequences(db: Session, session_id: UUID) -> frozenset[int]:
    """Sequences of bids accepted on a board that had lost others to a rewind of Redis."""
    return frozenset(db.scalars(text(_MOVED_SEQUENCES), {"session_id": session_id}))


def losses(db: Session, session_id: UUID) -> Sequence[Loss]:
    """The recorded losses, in the order of sequences."""
    recorded = db.scalars(select(SessionEvent).where(SessionEvent.session_id == session_id))
    found = [_loss(event) for event in recorded]
    return sorted((loss for loss in found if loss is not None), key=lambda loss: loss.first)


def _loss(event: SessionEvent) -> Loss | None:
    details = event.details
    match event.kind:
        case Incident.BID_LOG_GAP:
            taken_through, last = details.get("taken_through", 0), details["last_missing"]
            first = max(details["first_missing"], taken_through + 1)
            return Loss(first, last, event.kind) if first <= last else None
        case Incident.ENTRY_SET_ASIDE:
            # Earlier versions recorded the entry's id only.
            sequence = details.get("sequence") or int(details["id"].partition("-")[0])
            return Loss(sequence, sequence, event.kind)
        case Incident.REDIS_LOST:
            first, following = details["persisted_sequence"] + 1, details["next_sequence"]
            return Loss(first, following - 1, event.kind)
    return None
