"""What an operator may have to explain later, in `session_events` and in the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.postgres.models import SessionEvent
from core.telemetry import metrics

log = structlog.get_logger(__name__)


class Event(StrEnum):
    """The kinds of events, with their details."""

    # first_missing, last_missing: given out by Redis, and in no log. taken_through, after a
    # rewind: up to there the sequences are those of other bids.
    BID_LOG_GAP = "bid_log_gap"
    # id, sequence, fields, reason: of an entry that makes no sense.
    ENTRY_SET_ASIDE = "bid_log_entry_set_aside"
    # persisted_sequence: before the bids that came to be stored; moved: the ids of their
    # entries, which have the sequences that members were told, to those that the bids have.
    REDIS_REWOUND = "redis_rewound"
    # persisted_sequence, next_sequence: accepted bids between the two are lost;
    # last_persisted_bid_at: since when, at the earliest.
    REDIS_LOST = "redis_lost"
    # end_time, sequences: of bids that Redis accepted after the session had been ended early,
    # having forgotten it. They are in `bids`, and do not count.
    BIDS_AFTER_END = "bids_after_end"


# From the first event on Prometheus must see them rise, so each begins at 0.
for _kind in Event:
    metrics.SESSION_EVENTS.labels(_kind.value)


@dataclass(frozen=True, slots=True)
class Loss:
    """Sequences, both ends included, that stand in no row of `bids` for a recorded reason."""

    first: int
    last: int
    kind: str

    def __contains__(self, sequence: int) -> bool:
        return self.first <= sequence <= self.last

    def __str__(self) -> str:
        return f"sequences {self.first} to {self.last} are recorded as {self.kind}"


def record(db: Session, session_id: UUID, kind: Event, **details: Any) -> None:
    """Say loudly, and keep, what should not have happened."""
    log.error(kind.value, session_id=str(session_id), **details)
    metrics.SESSION_EVENTS.labels(kind.value).inc()
    db.add(SessionEvent(session_id=session_id, kind=kind.value, details=details))


# The sequences of bids that came after the session's end, by `:session_id`. What the event
# names is exact, where comparing times is not once a clock was set back.
LATE_SEQUENCES = f"""
    SELECT jsonb_array_elements_text(details -> 'sequences')::bigint
      FROM session_events
     WHERE session_id = :session_id AND kind = '{Event.BIDS_AFTER_END.value}'
"""  # noqa: S608 - a constant


def late_sequences(db: Session, session_id: UUID) -> frozenset[int]:
    """Of bids that came after the session's end, and do not count."""
    return frozenset(db.scalars(text(LATE_SEQUENCES), {"session_id": session_id}))


def losses(db: Session, session_id: UUID) -> Sequence[Loss]:
    """What was recorded as lost, in the order of sequences."""
    recorded = db.scalars(select(SessionEvent).where(SessionEvent.session_id == session_id))
    found = [_loss(event) for event in recorded]
    return sorted((loss for loss in found if loss is not None), key=lambda loss: loss.first)


def _loss(event: SessionEvent) -> Loss | None:
    details = event.details
    match event.kind:
        case Event.BID_LOG_GAP:
            taken_through, last = details.get("taken_through", 0), details["last_missing"]
            first = max(details["first_missing"], taken_through + 1)
            return Loss(first, last, event.kind) if first <= last else None
        case Event.ENTRY_SET_ASIDE:
            # Those of earlier versions have no sequence but the entry's own.
            sequence = details.get("sequence") or int(details["id"].partition("-")[0])
            return Loss(sequence, sequence, event.kind)
        case Event.REDIS_LOST:
            first, following = details["persisted_sequence"] + 1, details["next_sequence"]
            return Loss(first, following - 1, event.kind)
    return None
