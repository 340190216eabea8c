"""Verifies a session's ranks and winners against its bid log, at any time.

The log is the rows of `bids` followed by the entries not yet persisted. Each check
recomputes its subject and lists the differences. Losses recorded in `session_events` are
listed separately: they explain missing sequences and are not differences. If a session's bids
are archived, its results are checked, which keep what their scores were computed from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain, islice
from typing import Any
from uuid import UUID

from redis import Redis
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core import errors
from core.bidlog.entries import Entry, LoggedBid
from core.bidlog.incidents import Loss, late_sequences, losses, moved_sequences
from core.operations.audited_orders import wrong_offers, wrong_prices
from core.postgres.database import Database, allow_silence
from core.postgres.models import Archive, Bid, BiddingSession, BidLogOffset, Offer, Ranking
from core.redis import keys
from core.rules import scoring
from core.rules.lifecycle import Status

# A check lists this many differences; it counts all.
MAX_SHOWN = 10
# Reading millions of rows takes long; the transaction holds no locks.
_READ_SECONDS = 3600.0
_NO_BOARD = "the session is not in Redis; it has no board until a request loads it"


@dataclass(frozen=True, slots=True)
class BoardPlace:
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
    """The result of one check. `shown`: the first differences; `known`: recorded losses.

    `obstacle`: why the check could not run; None if it ran.
    """

    name: str
    checked_bids: int
    differences: int
    shown: Sequence[str]
    known: Sequence[str]
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """The input of the checks."""

    session: BiddingSession
    archive: Archive | None
    offset: int
    offset_before: int
    newest_row_or_loss: int
    bids: Sequence[AuditedBid]
    losses: Sequence[Loss]
    late: frozenset[int]
    moved: frozenset[int]
    suspect_entries: Sequence[str]
    board: Sequence[BoardPlace]
    rankings: Sequence[Ranking]
    sequence_in_redis: int | None
    highest_bid: Decimal | None
    offers: Sequence[Offer]

    @property
    def has_no_board(self) -> bool:
        """Whether Redis has lost this open session, and with it the board."""
        return not self.is_over and self.sequence_in_redis is None

    @property
    def is_over(self) -> bool:
        """Whether the session is closed or cancelled: then Redis may have forgotten it."""
        return Status(self.session.status).is_over

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody may be ranked."""
        return self.session.status == Status.CANCELLED.value

    def is_late(self, bid: AuditedBid) -> bool:
        """Whether it was accepted after the end, and so does not count."""
        if bid.sequence <= self.offset:
            return bid.sequence in self.late
        # Not drained yet: the drain will decide by the same times.
        return self.session.status == Status.ENDED.value and bid.accepted_at > self.session.end_time

    @property
    def standing(self) -> Sequence[AuditedBid]:
        """Each member's standing bid, by the log."""
        latest = {bid.user_id: bid for bid in self.bids if not self.is_late(bid)}
        return list(latest.values())


class Audit:
    """Verifies sessions. Writes nothing."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    def verify(self, session_id: UUID) -> list[Check]:
        """All checks of a session. Raises SessionNotFound."""
        evidence = self._gather(session_id)
        checks = _ARCHIVED_CHECKS if evidence.archive else _CHECKS
        return [_check(name, found, evidence) for name, found in checks.items()]

    def _gather(self, session_id: UUID) -> Evidence:
        """Read Redis in one transaction, then PostgreSQL, so that no drain can hide a bid.

        Entries persisted in between are in both and count once. Rows above the sequence read
        from Redis are newer than the board, and are left out.
        """
        with self._database.begin() as db:
            offset_before = _persisted_sequence(db, session_id)
        log, board, sequence, highest_bid = self._read_redis(session_id)
        with self._database.begin() as db:
            # One snapshot, so that rows and offset match.
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
            moved = moved_sequences(db, session_id)
            offers = db.scalars(select(Offer).where(Offer.session_id == session_id)).all()
            archive = db.get(Archive, session_id)
            db.expunge_all()
        ended = Status(session.status).is_over
        newest = None if ended else sequence
        persisted = [_of_row(row) for row in rows if newest is None or row.sequence <= newest]
        if archive:
            persisted = [_of_ranking(row, session) for row in rankings]
        undrained, strange = _parse(session_id, log, offset, rows)
        final = [BoardPlace(row.sequence, row.user_id, row.score) for row in rankings]
        return Evidence(
            session=session,
            archive=archive,
            offset=offset,
            offset_before=offset_before,
            newest_row_or_loss=max(
                chain(
                    (row.sequence for row in rows),
                    (loss.last for loss in recorded),
                    [archive.last_sequence] if archive else [],
                ),
                default=0,
            ),
            bids=sorted(persisted + undrained, key=lambda bid: bid.sequence),
            losses=[loss for loss in recorded if newest is None or loss.first <= newest],
            late=late,
            moved=moved,
            suspect_entries=strange,
            board=final if ended else board,
            rankings=rankings,
            sequence_in_redis=None if ended else sequence,
            highest_bid=session.highest_bid if ended else highest_bid,
            offers=offers,
        )

    def _read_redis(
        self, session_id: UUID
    ) -> tuple[list[Entry], list[BoardPlace], int | None, Decimal | None]:
        """The log, the board, the last sequence given out, the highest bid."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xrange(keys.bid_log(session_id))
            pipeline.zrevrange(keys.ranking(session_id), 0, -1, withscores=True)
            pipeline.hmget(keys.session_params(session_id), "sequence", "highest_bid")
            reply: list[Any] = pipeline.execute()
        log, board, (sequence, highest_bid) = reply
        places = [
            BoardPlace(scoring.member_sequence(member), UUID(scoring.member_user_id(member)), score)
            for member, score in board
        ]
        return (
            log,
            places,
            None if sequence is None else int(sequence),
            None if highest_bid is None else Decimal(highest_bid),
        )


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


def _of_ranking(row: Ranking, session: BiddingSession) -> AuditedBid:
    """The bid of a place. Archiving has filled its terms; without them the score differs."""
    terms = (row.score, row.response_time or 0.0, row.weight or 0.0)
    return AuditedBid(row.sequence, row.user_id, float(row.price), *terms, session.end_time)


def _parse(
    session_id: UUID, log: Sequence[Entry], offset: int, rows: Sequence[Bid]
) -> tuple[list[AuditedBid], list[str]]:
    """The log's bids above the offset, and a description of each faulty entry."""
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
    known = _known(evidence) if found in (_sequences, _archived_sequences) else []
    needs_board = found in (_board, _highest_bid)
    obstacle = _NO_BOARD if needs_board and evidence.has_no_board else None
    return Check(name, len(evidence.bids), len(differences), shown, known, obstacle)


def _known(evidence: Evidence) -> list[str]:
    """What explains sequences that are not in `bids`."""
    known = [str(loss) for loss in evidence.losses]
    if archive := evidence.archive:
        known.append(f"{archive.row_count} bids are in {archive.file}, SHA-256 {archive.sha256}")
    return known


def _scores(evidence: Evidence) -> Iterator[str]:
    terms = scoring.SaleTerms(**scoring.terms_of(evidence.session))
    for bid in evidence.bids:
        score = scoring.score(terms, bid.price, bid.response_time, bid.weight)
        if score != bid.score:
            yield f"bid {bid.sequence} has score {bid.score!r}, recomputed: {score!r}"


def _sequences(evidence: Evidence) -> Iterator[str]:
    """Sequences must run from 1, each present once or recorded as lost."""
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


def _archived_sequences(evidence: Evidence) -> Iterator[str]:
    """The archive's bids and recorded losses must make up all sequences to its last."""
    if (archive := evidence.archive) is None:
        return
    before = [loss for loss in evidence.losses if loss.last < archive.last_sequence]
    lost = sum(loss.last - loss.first + 1 for loss in before)
    if archive.row_count + lost != archive.last_sequence:
        yield f"{archive.row_count} bids and {lost} losses, up to sequence {archive.last_sequence}"


def _offset(evidence: Evidence) -> Iterator[str]:
    if evidence.offset != evidence.newest_row_or_loss:
        yield f"the offset is {evidence.offset}, the rows end at {evidence.newest_row_or_loss}"
    given_out = evidence.sequence_in_redis
    if given_out is not None and given_out < evidence.offset_before:
        yield f"Redis gave out {given_out} sequences, {evidence.offset_before} were persisted"


def _entries(evidence: Evidence) -> Iterator[str]:
    yield from evidence.suspect_entries


def _board(evidence: Evidence) -> Iterator[str]:
    if evidence.has_no_board or evidence.is_cancelled:
        return
    ranked = sorted(evidence.standing, key=lambda bid: (-bid.score, bid.sequence))
    # A bid lost from the log only is on the board until the session is reloaded.
    unproven = {place.user_id for place in evidence.board if _is_lost(evidence, place)}
    board = [place for place in evidence.board if place.user_id not in unproven]
    expected = [
        BoardPlace(bid.sequence, bid.user_id, bid.score)
        for bid in ranked
        if bid.user_id not in unproven
    ]
    if len(expected) != len(board):
        yield f"the board has {len(board)} places, by the log it has {len(expected)}"
    for rank, (due, found) in enumerate(zip(expected, board, strict=False), start=1):
        if due != found:
            yield f"rank {rank} is bid {found.sequence}, by the log it is bid {due.sequence}"


def _is_lost(evidence: Evidence, place: BoardPlace) -> bool:
    return any(place.sequence in loss for loss in evidence.losses)


def _prices(evidence: Evidence) -> Iterator[str]:
    """A standing price can only be raised, unless the session says otherwise."""
    if evidence.session.allow_lower_bids:
        return
    standing: dict[UUID, AuditedBid] = {}
    for bid in evidence.bids:
        before = standing.get(bid.user_id)
        if before and bid.price < before.price and bid.sequence not in evidence.moved:
            yield f"bid {bid.sequence} at {bid.price} follows {before.sequence} at {before.price}"
        standing[bid.user_id] = bid


def _highest_bid(evidence: Evidence) -> Iterator[str]:
    # A bid lost from the log only still counts until the session is reloaded.
    is_shown = not (evidence.has_no_board or evidence.is_cancelled)
    if not is_shown or any(_is_lost(evidence, place) for place in evidence.board):
        return
    expected = max((bid.price for bid in evidence.standing), default=None)
    shown = None if evidence.highest_bid is None else float(evidence.highest_bid)
    if shown != expected:
        yield f"the highest bid is {shown}, by the log it is {expected}"


def _winners(evidence: Evidence) -> Iterator[str]:
    inventory, ranks = evidence.session.inventory, [row.rank for row in evidence.rankings]
    if evidence.is_cancelled and ranks:
        yield f"{len(ranks)} ranks in a cancelled session"
    winners = sum(scoring.is_winning(rank, inventory) for rank in ranks)
    if winners > inventory:
        yield f"{winners} winners for {inventory} items"
    if ranks != list(range(1, len(ranks) + 1)):
        yield "the ranks are not consecutive from 1"


_CHECKS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "scores": _scores,
    "sequences": _sequences,
    "offset": _offset,
    "log entries": _entries,
    "prices": _prices,
    "ranks": _board,
    "highest bid": _highest_bid,
    "winners": _winners,
    "offers": lambda found: wrong_offers(found.session, found.rankings, found.offers),
    "prices to pay": lambda found: wrong_prices(found.session, found.rankings),
}
# The file itself proves the rest: that prices only rose.
_ARCHIVED_CHECKS = {
    name: found for name, found in _CHECKS.items() if found not in (_sequences, _prices)
} | {"sequences": _archived_sequences}
