"""Finds a log's new entries when Redis may have given sequences out twice.

A log that begins above the offset is all new. One that begins at or below it has entries
that were drained but not trimmed, or Redis has restored a state older than PostgreSQL's.
Then each entry is looked up in PostgreSQL, and new ones get sequences behind all stored
bids, in the log's order. No bid gets a sequence below the one its member was given, so all
entries above the offset are new.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.bidlog.entries import Entry, Identity, LoggedBid, sequence_of, storable
from core.bidlog.incidents import Incident, record
from core.postgres.models import Archive, Bid, SessionEvent

_MOVED = text("""
    SELECT moved.key AS entry_id, moved.value::bigint AS sequence
      FROM session_events, jsonb_each_text(details -> 'moved') moved
     WHERE session_id = :session_id AND kind = :kind AND moved.key = ANY(:entry_ids)
""")


class PendingBid(NamedTuple):
    """An entry not yet in PostgreSQL.

    `entry_sequence`: the one its member was given. `sequence`: the one it is stored with.
    """

    entry: Entry
    entry_sequence: int
    sequence: int


def assign_sequences(entries: Iterable[Entry], offset: int) -> list[PendingBid]:
    """The entries with their own sequences, or the next ones behind all stored bids."""
    due = []
    for entry in entries:
        given = sequence_of(entry[0])
        offset = max(offset + 1, given)
        due.append(PendingBid(entry, given, offset))
    return due


def report_rewind(db: Session, session_id: UUID, offset: int, due: Sequence[PendingBid]) -> None:
    moved = {one.entry[0]: one.sequence for one in due if one.sequence != one.entry_sequence}
    if moved:
        record(db, session_id, Incident.REDIS_REWOUND, persisted_sequence=offset, moved=moved)


def report_gaps(db: Session, session_id: UUID, offset: int, due: Sequence[PendingBid]) -> None:
    """Record sequences that were given out but are in no entry.

    In front of a rewound batch, missing and already persisted entries look the same.
    """
    given, sequence = min(offset, due[0].entry_sequence - 1), offset
    for one in due:
        if one.entry_sequence > given + 1:
            # Sequences that other bids have been stored with are not missing in `bids`.
            taken = {"taken_through": sequence} if sequence > given else {}
            record(
                db,
                session_id,
                Incident.BID_LOG_GAP,
                first_missing=given + 1,
                last_missing=one.entry_sequence - 1,
                **taken,
            )
        _, given, sequence = one


def new_entries(db: Session, session_id: UUID, entries: Sequence[Entry]) -> list[Entry]:
    """The entries that are neither in `bids` nor set aside nor archived.

    Looks up each bid by its own sequence and by those that rewinds gave to its entry id: a
    few primary keys, however many bids the session has. A session is archived with an empty
    log, so every earlier bid is in its file.
    """
    archived_at = db.scalar(select(Archive.written_at).where(Archive.session_id == session_id))
    places = _places(db, session_id, entries)
    stored = _stored(db, session_id, {place for some in places.values() for place in some})
    set_aside = _set_aside(db, session_id, entries)

    def is_handled(entry: Entry) -> bool:
        try:
            bid = LoggedBid.parse(session_id, entry)
        except ValueError:
            return (entry[0], storable(entry[1])) in set_aside
        if archived_at is not None and bid.accepted_at < archived_at:
            return True
        return any(stored.get(place) == bid.identity for place in places[entry[0]])

    return [entry for entry in entries if not is_handled(entry)]


def _places(db: Session, session_id: UUID, entries: Iterable[Entry]) -> dict[str, list[int]]:
    """By entry id, the sequences its bid may be stored with."""
    places = {entry_id: [sequence_of(entry_id)] for entry_id, _ in entries}
    moved = db.execute(
        _MOVED,
        {"session_id": session_id, "kind": Incident.REDIS_REWOUND.value, "entry_ids": list(places)},
    )
    for entry_id, sequence in moved:
        places[entry_id].append(sequence)
    return places


def _stored(db: Session, session_id: UUID, sequences: Iterable[int]) -> dict[int, Identity]:
    """The bids stored with these sequences."""
    rows = db.execute(
        select(Bid.sequence, Bid.user_id, Bid.accepted_at, Bid.price).where(
            Bid.session_id == session_id, Bid.sequence.in_(sequences)
        )
    )
    return {row.sequence: (row.user_id, row.accepted_at, row.price) for row in rows}


def _set_aside(
    db: Session, session_id: UUID, entries: Iterable[Entry]
) -> list[tuple[str, dict[str, str]]]:
    """Ids and fields of those entries that were set aside."""
    id_of_entry = SessionEvent.details["id"].astext
    rows = db.execute(
        select(id_of_entry, SessionEvent.details["fields"]).where(
            SessionEvent.session_id == session_id,
            SessionEvent.kind == Incident.ENTRY_SET_ASIDE.value,
            id_of_entry.in_([entry_id for entry_id, _ in entries]),
        )
    )
    return [(row[0], row[1]) for row in rows]
