"""Which entries of a log are new, where Redis may have given sequences out a second time.

A log that begins above the offset is new from there on. One that begins at or below it has
entries that a drain took and did not trim, or Redis came back older than PostgreSQL. There
each entry is looked for in PostgreSQL, and what is new goes behind all that is stored, in the
log's order. No bid ever gets a sequence below the one that its member was told, so whatever
is above the offset is new for certain.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.bidlog.entries import Entry, Identity, LoggedBid, sequence_of, storable
from core.bidlog.incidents import Event, record
from core.postgres.models import Bid, SessionEvent

_MOVED = text("""
    SELECT moved.key AS entry_id, moved.value::bigint AS sequence
      FROM session_events, jsonb_each_text(details -> 'moved') moved
     WHERE session_id = :session_id AND kind = :kind AND moved.key = ANY(:entry_ids)
""")


class Due(NamedTuple):
    """An entry that is not in PostgreSQL yet.

    `told`: the sequence that its member was told. `sequence`: the one that the bid gets.
    """

    entry: Entry
    told: int
    sequence: int


def place(entries: Iterable[Entry], offset: int) -> list[Due]:
    """The entries with their sequences: those they were told, but behind all that is stored."""
    due = []
    for entry in entries:
        told = sequence_of(entry[0])
        offset = max(offset + 1, told)
        due.append(Due(entry, told, offset))
    return due


def report_rewind(db: Session, session_id: UUID, offset: int, due: Sequence[Due]) -> None:
    moved = {one.entry[0]: one.sequence for one in due if one.sequence != one.told}
    if moved:
        record(db, session_id, Event.REDIS_REWOUND, persisted_sequence=offset, moved=moved)


def report_gaps(db: Session, session_id: UUID, offset: int, due: Sequence[Due]) -> None:
    """Record sequences that were told and are in no entry.

    What is missing in front of a rewound batch cannot be told from what was handled before.
    """
    told, sequence = min(offset, due[0].told - 1), offset
    for one in due:
        if one.told > told + 1:
            # Where others' bids have got these sequences, nothing is missing in `bids`.
            taken = {"taken_through": sequence} if sequence > told else {}
            record(
                db,
                session_id,
                Event.BID_LOG_GAP,
                first_missing=told + 1,
                last_missing=one.told - 1,
                **taken,
            )
        _, told, sequence = one


def new_among(db: Session, session_id: UUID, entries: Sequence[Entry]) -> list[Entry]:
    """Those entries that are neither in `bids` nor set aside.

    A bid is looked for where it was told to be, and wherever a rewind has put an entry with
    its id: a few rows by their key, however many the session has.
    """
    places = _places(db, session_id, entries)
    stored = _stored(db, session_id, {place for some in places.values() for place in some})
    set_aside = _set_aside(db, session_id, entries)

    def is_handled(entry: Entry) -> bool:
        try:
            identity = LoggedBid.parse(session_id, entry).identity
        except ValueError:
            return (entry[0], storable(entry[1])) in set_aside
        return any(stored.get(place) == identity for place in places[entry[0]])

    return [entry for entry in entries if not is_handled(entry)]


def _places(db: Session, session_id: UUID, entries: Iterable[Entry]) -> dict[str, list[int]]:
    """Where in `bids` each entry's bid can be, by the entry's id."""
    places = {entry_id: [sequence_of(entry_id)] for entry_id, _ in entries}
    moved = db.execute(
        _MOVED,
        {"session_id": session_id, "kind": Event.REDIS_REWOUND.value, "entry_ids": list(places)},
    )
    for entry_id, sequence in moved:
        places[entry_id].append(sequence)
    return places


def _stored(db: Session, session_id: UUID, sequences: Iterable[int]) -> dict[int, Identity]:
    """Which bids are stored with these sequences."""
    rows = db.execute(
        select(Bid.sequence, Bid.user_id, Bid.accepted_at, Bid.price).where(
            Bid.session_id == session_id, Bid.sequence.in_(sequences)
        )
    )
    return {row.sequence: (row.user_id, row.accepted_at, row.price) for row in rows}


def _set_aside(
    db: Session, session_id: UUID, entries: Iterable[Entry]
) -> list[tuple[str, dict[str, str]]]:
    """The entries with these ids that were set aside: their ids and fields."""
    id_of_entry = SessionEvent.details["id"].astext
    rows = db.execute(
        select(id_of_entry, SessionEvent.details["fields"]).where(
            SessionEvent.session_id == session_id,
            SessionEvent.kind == Event.ENTRY_SET_ASIDE.value,
            id_of_entry.in_([entry_id for entry_id, _ in entries]),
        )
    )
    return [(row[0], row[1]) for row in rows]
