"""Proves a session's ranks and winners from its bid log, at any time.

The log is the rows of `bids` followed by the entries that no drain has persisted. Each
check recomputes what it proves and names what differs. Losses that were recorded in
`session_events` when they were noticed are listed beside it: they explain the sequences
that are missing, and make no difference.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import Any
from uuid import UUID

from redis import Redis
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core import errors
from core.bidlog.entries import Entry, LoggedBid
from core.bidlog.incidents import Loss, late_sequences, losses
from core.postgres.database import Database, allow_silence
from core.postgres.models import Bid, BiddingSession, BidLogOffset, Ranking
from core.redis import keys
from core.rules import scoring
from core.rules.lifecycle import Status

# How many differences a check names; it counts them all.
MAX_SHOWN = 10
# Millions of rows become objects in a transaction that locks nothing.
_READ_SECONDS = 3600.0
_NO_BOARD = "Redis does not hold this session: there is no board until a request loads it"


@dataclass(frozen=True, slots=True)
class Standing:
    """One bid of the log, or one place of a board."""

    sequence: int
    user_id: UUID
    score: float


@dataclass(frozen=True, slots=True)
class AuditedBid:
    """One bid of the log with the terms of its score."""

    sequence: int
    user_id: UUID
    price: float
    score: float
    response_time: float
    weight: float
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class Check:
    """One proof: how many things were looked at, which differ, which losses are known.

    `obstacle`: why it could not be made at all; None when it was.
    """

    name: str
    looked_at: int
    differences: int
    shown: Sequence[str]
    known: Sequence[str]
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the checks read."""

    session: BiddingSession
    offset: int
    offset_before: int
    newest_row_or_loss: int
    bids: Sequence[AuditedBid]
    losses: Sequence[Loss]
    late: frozenset[int]
    strange_entries: Sequence[str]
    board: Sequence[Standing]
    ranks: Sequence[int]
    sequence_in_redis: int | None

    @property
    def has_no_board(self) -> bool:
        """Whether Redis has lost an open session, so that there is no board to check."""
        return self.session.status != Status.ENDED.value and self.sequence_in_redis is None

    def is_late(self, bid: AuditedBid) -> bool:
        """Whether it came after the end, so that the results leave it out."""
        if bid.sequence <= self.offset:
            return bid.sequence in self.late
        # The drain will say it by its time.
        return self.session.status == Status.ENDED.value and bid.accepted_at > self.session.end_time


class Audit:
    """Verifies sessions. Writes nothing."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    def verify(self, session_id: UUID) -> list[Check]:
        """All checks of a session. Raises SessionNotFound."""
        evidence = self._gather(session_id)
        return [_check(name, found, evidence) for name, found in _CHECKS.items()]

    def _gather(self, session_id: UUID) -> Evidence:
        """Read Redis in one transaction, then PostgreSQL: a drain between them hides no bid.

        An entry it has persisted is in both and counts once. Rows above what Redis had
        given out by then are newer than the board that was read, and left out.
        """
        with self._database.begin() as db:
            offset_before = _persisted_sequence(db, session_id)
        log, board, sequence = self._read_redis(session_id)
        with self._database.begin() as db:
            # One snapshot: the rows and the offset must be of one moment.
            db.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            allow_silence(db, seconds=_READ_SECONDS)
            session = db.get(BiddingSession, session_id)
            if session is None:
                raise errors.SessionNotFound(session_id)
            offset = _persisted_sequence(db, session_id)
            rows = db.scalars(select(Bid).where(Bid.session_id == session_id)).all()
            rankings = db.scalars(
                select(Ranking).where(Ranking.session_id == session_id).order_by(Ranking.rank)
            ).all()
            recorded = losses(db, session_id)
            late = late_sequences(db, session_id)
            db.expunge_all()
        ended = session.status == Status.ENDED.value
        newest = None if ended else sequence
        persisted = [_of_row(row) for row in rows if newest is None or row.sequence <= newest]
        undrained, strange = _parse(session_id, log, offset, rows)
        final = [Standing(row.sequence, row.user_id, row.score) for row in rankings]
        return Evidence(
            session=session,
            offset=offset,
            offset_before=offset_before,
            newest_row_or_loss=max(
                chain((row.sequence for row in rows), (loss.last for loss in recorded)), default=0
            ),
            bids=sorted(persisted + undrained, key=lambda bid: bid.sequence),
            losses=[loss for loss in recorded if newest is None or loss.first <= newest],
            late=late,
            strange_entries=strange,
            board=final if ended else board,
            ranks=[row.rank for row in rankings],
            sequence_in_redis=None if ended else sequence,
        )

    def _read_redis(self, session_id: UUID) -> tuple[list[Entry], list[Standing], int | None]:
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xrange(keys.bid_log(session_id))
            pipeline.zrevrange(keys.ranking(session_id), 0, -1, withscores=True)
            pipeline.hget(keys.session_params(session_id), "sequence")
            reply: list[Any] = pipeline.execute()
        log, board, sequence = reply
        places = [
            Standing(scoring.member_sequence(member), UUID(scoring.member_user_id(member)), score)
            for member, score in board
        ]
        return log, places, None if sequence is None else int(sequence)


def _persisted_sequence(db: Session, session_id: UUID) -> int:
    return (
        db.scalar(
            select(BidLogOffset.persisted_sequence).where(BidLogOffset.session_id == session_id)
        )
        or 0
    )


def _of_row(row: Bid) -> AuditedBid:
    terms = (row.score, row.response_time, row.weight)
    return AuditedBid(row.sequence, row.user_id, float(row.price), *terms, row.accepted_at)


def _parse(
    session_id: UUID, log: Sequence[Entry], offset: int, rows: Sequence[Bid]
) -> tuple[list[AuditedBid], list[str]]:
    """The log's entries above the offset, and what is wrong with entries."""
    stored = {(row.user_id, row.accepted_at, row.price) for row in rows}
    bids, strange = [], []
    for entry in log:
        try:
            bid = LoggedBid.parse(session_id, entry)
        except ValueError as error:
            strange.append(f"entry {entry[0]}: {error}")
            continue
        if bid.sequence > offset:
            terms = (float(bid.score), float(bid.response_time), float(bid.weight))
            bids.append(
                AuditedBid(bid.sequence, bid.user_id, float(bid.price), *terms, bid.accepted_at)
            )
        elif bid.identity not in stored:
            strange.append(f"entry {entry[0]} is not in bids, and the offset is {offset}")
    return bids, strange


def _check(name: str, found: Callable[[Evidence], Iterator[str]], evidence: Evidence) -> Check:
    differences = list(found(evidence))
    shown = list(islice(differences, MAX_SHOWN))
    known = [str(loss) for loss in evidence.losses] if found is _sequences else []
    obstacle = _NO_BOARD if found is _board and evidence.has_no_board else None
    return Check(name, len(evidence.bids), len(differences), shown, known, obstacle)


def _scores(evidence: Evidence) -> Iterator[str]:
    terms = scoring.SaleTerms(**scoring.terms_of(evidence.session))
    for bid in evidence.bids:
        score = scoring.score(terms, bid.price, bid.response_time, bid.weight)
        if score != bid.score:
            yield f"bid {bid.sequence} has score {bid.score!r}, its terms give {score!r}"


def _sequences(evidence: Evidence) -> Iterator[str]:
    """From 1, each once or recorded as lost: a gap and a duplicate both break the count."""
    stretches = [(bid.sequence, bid.sequence) for bid in evidence.bids]
    stretches += [(loss.first, loss.last) for loss in evidence.losses]
    expected = 1
    for first, last in sorted(stretches):
        if first < expected:
            yield f"sequence {first} was given twice"
        elif first > expected:
            yield f"sequences {expected} to {first - 1} are missing"
        expected = max(expected, last + 1)
    if evidence.sequence_in_redis is not None and evidence.sequence_in_redis != expected - 1:
        yield f"Redis gave out {evidence.sequence_in_redis}, the log ends at {expected - 1}"


def _offset(evidence: Evidence) -> Iterator[str]:
    if evidence.offset != evidence.newest_row_or_loss:
        yield f"the offset is {evidence.offset}, the rows end at {evidence.newest_row_or_loss}"
    given_out = evidence.sequence_in_redis
    if given_out is not None and given_out < evidence.offset_before:
        yield f"Redis gave out {given_out} sequences, {evidence.offset_before} were persisted"


def _entries(evidence: Evidence) -> Iterator[str]:
    yield from evidence.strange_entries


def _board(evidence: Evidence) -> Iterator[str]:
    if evidence.has_no_board:
        return
    latest = {bid.user_id: bid for bid in evidence.bids if not evidence.is_late(bid)}
    ranked = sorted(latest.values(), key=lambda bid: (-bid.score, bid.sequence))
    # A bid that only the log has lost stands on the board until Redis is loaded anew.
    unproven = {place.user_id for place in evidence.board if _is_lost(evidence, place)}
    board = [place for place in evidence.board if place.user_id not in unproven]
    expected = [
        Standing(bid.sequence, bid.user_id, bid.score)
        for bid in ranked
        if bid.user_id not in unproven
    ]
    if len(expected) != len(board):
        yield f"the board has {len(board)} places, the log gives {len(expected)}"
    for rank, (due, found) in enumerate(zip(expected, board, strict=False), start=1):
        if due != found:
            yield f"rank {rank} is bid {found.sequence}, the log gives bid {due.sequence}"


def _is_lost(evidence: Evidence, place: Standing) -> bool:
    return any(place.sequence in loss for loss in evidence.losses)


def _winners(evidence: Evidence) -> Iterator[str]:
    inventory = evidence.session.inventory
    winners = sum(scoring.is_winning(rank, inventory) for rank in evidence.ranks)
    if winners > inventory:
        yield f"{winners} winners for {inventory} items"
    if list(evidence.ranks) != list(range(1, len(evidence.ranks) + 1)):
        yield "the ranks are not 1, 2, 3 and so on"


_CHECKS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "scores": _scores,
    "sequences": _sequences,
    "offset": _offset,
    "log entries": _entries,
    "ranks": _board,
    "winners": _winners,
}
