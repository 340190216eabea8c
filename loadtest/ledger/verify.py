"""Holds the ledger against the books: was every answered bid kept, once, and ranked rightly?

Each check yields sentences about what differs; none means that it passed. Scores and ranks
are recomputed here from what the bids recorded, with this file's own formula.
"""

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby, islice, pairwise
from typing import Any

from loadtest.ledger.ledger import ACCEPTED, Attempt, Recorded
from loadtest.ledger.stored_state import BidRow, Books, Place

LISTED = 20
MICROSECOND = timedelta(microseconds=1)

Differences = Iterator[str]


@dataclass(frozen=True, slots=True)
class Case:
    """Both sides, and the session's results as the API tells them."""

    ledger: Recorded
    books: Books
    results: Mapping[str, Any] | None
    ended_keys_ttl_seconds: int


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check. `differences` is cut off at LISTED, `count` is not."""

    rule: str
    count: int
    differences: list[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of all checks."""

    session_id: str
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not any(finding.count for finding in self.findings)

    def lines(self) -> Iterator[str]:
        """The verdict in words."""
        for finding in self.findings:
            mark = "differs" if finding.count else "holds"
            yield f"{mark:>8}  {finding.rule}"
            yield from (f"{'':10}- {difference}" for difference in finding.differences)
            if finding.count > len(finding.differences):
                yield f"{'':10}- and {finding.count - len(finding.differences)} more"
        yield from (f"{'note':>8}  {note}" for note in self.notes)
        yield self.summary

    @property
    def summary(self) -> str:
        if self.holds:
            return "The ledger, Redis, PostgreSQL and the API agree."
        count = sum(finding.count for finding in self.findings)
        return f"{count} difference{'s' if count > 1 else ''} found."


def verify(session_id: str, case: Case) -> Verdict:
    """Make every check."""
    findings = [_finding(rule, check(case)) for rule, check in CHECKS]
    return Verdict(session_id, findings, list(_notes(case)))


def _finding(rule: str, differences: Differences) -> Finding:
    listed = list(islice(differences, LISTED))
    return Finding(rule, len(listed) + sum(1 for _ in differences), listed)


class KeptBids:
    """The bids that answers were about."""

    def __init__(self, books: Books) -> None:
        self._bids = {bid.sequence: bid for bid in books.bids}
        self._moved = books.moved

    def of(self, attempt: Attempt) -> BidRow | None:
        """The bid at the sequence that was told; where Redis gave that out twice, the member's."""
        told = attempt.sequence or 0
        for sequence in self._moved.get(told, ()):
            bid = self._bids.get(sequence)
            if bid and is_of(bid, attempt):
                return bid
        return self._bids.get(told)


def is_of(bid: BidRow, attempt: Attempt) -> bool:
    """Whether the bid is the one that was answered: its member's, of the same moment."""
    return (bid.user_id, bid.accepted_at) == (attempt.user_id, _moment(attempt.accepted_at))


def _answered_bids_are_kept(case: Case) -> Differences:
    kept = KeptBids(case.books)
    for attempt in case.ledger.attempts:
        if attempt.is_answered_yes:
            bid = kept.of(attempt)
            if bid is None:
                yield f"bid {attempt.sequence} of {attempt.user_id} is not in bids"
            else:
                yield from _compare(attempt, bid)


def _compare(attempt: Attempt, bid: BidRow) -> Differences:
    told = (
        ("user", attempt.user_id, bid.user_id),
        ("price", Decimal(attempt.price), bid.price),
        ("score", _bits(attempt.score), _bits(bid.score)),
        ("response time", _bits(attempt.response_time), _bits(bid.response_time)),
        ("weight", _bits(attempt.weight), _bits(bid.weight)),
        ("moment", _moment(attempt.accepted_at), bid.accepted_at),
    )
    for name, answered, kept in told:
        if answered != kept:
            yield f"bid {bid.sequence}: the {name} answered was {answered}, kept is {kept}"


def _no_bid_is_answered_twice(case: Case) -> Differences:
    """Two different requests accepted as one bid; a replay says that it is one."""
    kept = KeptBids(case.books)
    accepted = [(a.sequence, kept.of(a)) for a in case.ledger.attempts if a.kind == ACCEPTED]
    answers = Counter(bid.sequence if bid else told for told, bid in accepted)
    for sequence, count in answers.items():
        if count > 1:
            yield f"bid {sequence} was answered as newly accepted {count} times"


def missing(first: int, last: int) -> str:
    """How the verdict names sequences that are not in `bids`."""
    one = first == last
    return f"sequence {first} is missing" if one else f"sequences {first} to {last} are missing"


def _sequences_have_no_gap(case: Case) -> Differences:
    counted = Counter(bid.sequence for bid in case.books.bids)
    yield from (f"sequence {seq} stands {n} times" for seq, n in counted.items() if n > 1)
    last = max(counted, default=0)
    for before, after in pairwise([0, *sorted(counted)]):
        if after > before + 1:
            yield missing(before + 1, after - 1)
    if case.books.persisted_sequence != last:
        yield f"persisted_sequence is {case.books.persisted_sequence}, the last bid is {last}"
    if case.books.board.exists and case.books.board.sequence != last:
        yield f"Redis gave out {case.books.board.sequence} sequences, the last bid is {last}"
    if case.books.board.log_length:
        yield f"{case.books.board.log_length} bids are still in the bid log"


def _nothing_comes_from_nowhere(case: Case) -> Differences:
    """A bid of one of our members that no request in the ledger explains."""
    ours = {attempt.user_id for attempt in case.ledger.attempts}
    asked = {(a.user_id, Decimal(a.price)) for a in case.ledger.attempts if a.may_stand}
    for bid in case.books.bids:
        if bid.user_id in ours and (bid.user_id, bid.price) not in asked:
            yield f"bid {bid.sequence} of {bid.user_id} at {bid.price} was never asked for"


def _bids_are_in_time(case: Case) -> Differences:
    session = case.books.session
    for bid in case.books.bids:
        if bid.accepted_at >= session.end:
            yield f"bid {bid.sequence} was accepted at {bid.accepted_at}, the end is {session.end}"
        if bid.accepted_at < session.start:
            yield f"bid {bid.sequence} was accepted before the start"
    for attempt in case.ledger.attempts:
        if attempt.is_answered_yes and _moment(attempt.accepted_at) >= session.end:
            yield f"bid {attempt.sequence} was answered as accepted after the end"


def _prices_are_admissible(case: Case) -> Differences:
    for bid in case.books.bids:
        if bid.price < case.books.session.upset_price:
            yield f"bid {bid.sequence} at {bid.price} is below the upset price"


def _scores_are_right(case: Case) -> Differences:
    session = case.books.session
    for bid in case.books.bids:
        waited = ((bid.accepted_at - session.start) // MICROSECOND) / 1_000_000
        if _bits(waited) != _bits(bid.response_time):
            yield f"bid {bid.sequence}: response time {bid.response_time!r}, recomputed {waited!r}"
        score = session.alpha * float(bid.price)
        score += session.beta / (bid.response_time + 1)
        score += session.gamma * bid.weight
        if _bits(score) != _bits(bid.score):
            yield f"bid {bid.sequence}: score {bid.score!r}, recomputed {score!r}"


def _weights_are_fixed(case: Case) -> Differences:
    weights: defaultdict[str, set[float]] = defaultdict(set)
    for bid in case.books.bids:
        weights[bid.user_id].add(bid.weight)
    for user_id, seen in weights.items():
        if len(seen) > 1:
            yield f"{user_id} bid with weights {sorted(seen)}"


def _answered_ranks_are_right(case: Case) -> Differences:
    """Play the bids again in their order; each answer told the rank of that moment, at which
    others may have been accepted by the same call.

    But for bids that have another sequence by now: the board that they were ranked on had
    forgotten others.
    """
    kept = KeptBids(case.books)
    accepted = [(a, kept.of(a)) for a in case.ledger.attempts if a.kind == ACCEPTED]
    told = {a.sequence: a.rank for a, bid in accepted if bid and bid.sequence == a.sequence}
    board: list[tuple[float, int]] = []
    standing: dict[str, tuple[float, int]] = {}
    for _, together in groupby(case.books.bids, key=lambda bid: bid.accepted_at):
        bids = list(together)
        for bid in bids:
            if bid.user_id in standing:
                board.remove(standing[bid.user_id])
            standing[bid.user_id] = (-bid.score, bid.sequence)
            insort(board, standing[bid.user_id])
        for bid in bids:
            rank = board.index((-bid.score, bid.sequence)) + 1
            answered = told.get(bid.sequence, rank)
            if answered != rank:
                yield f"bid {bid.sequence} was answered with rank {answered}, it was {rank}"


def _rankings_are_right(case: Case) -> Differences:
    expected = recompute(case.books.bids)
    yield from _different("rankings", expected, case.books.rankings)


def _winners_are_the_best(case: Case) -> Differences:
    inventory = case.books.session.inventory
    won = {place.user_id for place in case.books.rankings if place.rank <= inventory}
    best = {place.user_id for place in recompute(case.books.bids)[:inventory]}
    winners = sum(place.rank <= inventory for place in case.books.rankings)
    if winners > inventory:
        yield f"{winners} winners for {inventory} items"
    yield from (f"{user_id} won, and is not among the best" for user_id in sorted(won - best))
    yield from (f"{user_id} is among the best, and did not win" for user_id in sorted(best - won))


def _board_is_the_ranking(case: Case) -> Differences:
    if not case.books.board.exists:
        if case.books.bids and not _may_have_expired(case):
            yield "Redis holds nothing of this session, and its time there is not over"
        return
    rankings = [Place(p.rank, p.user_id, p.sequence, p.score) for p in case.books.rankings]
    yield from _different("the board in Redis", rankings, case.books.board.places)


def _results_are_the_ranking(case: Case) -> Differences:
    if case.results is None:
        return
    rankings = [_entry(place) for place in case.books.rankings]
    told = [_told(entry) for entry in case.results["rankings"]]
    yield from _different("/api/results", rankings, told)
    inventory = case.books.session.inventory
    winners = [_told(entry) for entry in case.results["winners"]]
    yield from _different("winners in /api/results", rankings[:inventory], winners)
    if case.results["total_winners"] != len(winners):
        yield f"total_winners is {case.results['total_winners']}, listed are {len(winners)}"
    for entry in case.results["rankings"]:
        if entry["is_winner"] != (entry["rank"] <= inventory):
            yield f"rank {entry['rank']} is told to be a winner: {entry['is_winner']}"


CHECKS: Sequence[tuple[str, Callable[[Case], Differences]]] = (
    ("every answered bid is in bids, as it was answered", _answered_bids_are_kept),
    ("no bid was answered as new twice", _no_bid_is_answered_twice),
    ("sequences run from 1 without a gap, and all are persisted", _sequences_have_no_gap),
    ("no bid is there that nobody asked for", _nothing_comes_from_nowhere),
    ("no bid was accepted before the start, at the end or later", _bids_are_in_time),
    ("no bid is below the upset price", _prices_are_admissible),
    ("every score can be recomputed bit for bit", _scores_are_right),
    ("every member bid with one weight", _weights_are_fixed),
    ("every answered rank was the rank of that moment", _answered_ranks_are_right),
    ("the rankings are those recomputed from the bids", _rankings_are_right),
    ("the winners are the best, and no more than there are items", _winners_are_the_best),
    ("the board in Redis is the ranking", _board_is_the_ranking),
    ("/api/results is the ranking", _results_are_the_ranking),
)


def recompute(bids: Iterable[BidRow]) -> list[Place]:
    """The final places: each member's last bid, best score first, the earlier one on a tie."""
    standing = {bid.user_id: bid for bid in sorted(bids, key=lambda bid: bid.sequence)}
    ordered = sorted(standing.values(), key=lambda bid: (-bid.score, bid.sequence))
    return [
        Place(rank, bid.user_id, bid.sequence, bid.score, bid.price)
        for rank, bid in enumerate(ordered, 1)
    ]


def _different(where: str, expected: Sequence[Any], found: Sequence[Any]) -> Differences:
    if len(expected) != len(found):
        yield f"{where}: {len(found)} places, expected are {len(expected)}"
    for left, right in zip(expected, found, strict=False):
        if left != right:
            yield f"{where}: found {_words(right)}, expected {_words(left)}"


def _words(place: Any) -> str:
    if isinstance(place, Place):
        price = "" if place.price is None else f" at {place.price}"
        return f"rank {place.rank} {place.user_id} bid {place.sequence}{price} ({place.score!r})"
    rank, user_id, price, score = place
    return f"rank {rank} {user_id} at {price} ({score!r})"


def _entry(place: Place) -> tuple[int, str, Decimal | None, float]:
    return place.rank, place.user_id, place.price, place.score


def _told(entry: Mapping[str, Any]) -> tuple[int, str, Decimal, float]:
    return entry["rank"], entry["user_id"], _cents(entry["price"]), float(entry["score"])


def _cents(price: float) -> Decimal:
    return Decimal(repr(price)).quantize(Decimal("0.01"))


def _bits(number: float | None) -> str:
    return "nothing" if number is None else float(number).hex()


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text or "")


def _may_have_expired(case: Case) -> bool:
    closed_at = case.books.session.closed_at
    ttl = timedelta(seconds=case.ended_keys_ttl_seconds)
    return closed_at is not None and case.books.now >= closed_at + ttl


def _notes(case: Case) -> Iterator[str]:
    ours = {attempt.user_id for attempt in case.ledger.attempts}
    yes = sum(attempt.is_answered_yes for attempt in case.ledger.attempts)
    yield f"{len(case.ledger.attempts)} requests in the ledger, {yes} of them answered with yes."
    yield f"{len(case.books.bids)} bids, {len(case.books.rankings)} members in the rankings."
    others = sum(bid.user_id not in ours for bid in case.books.bids)
    if others:
        yield f"{others} bids are of members who are not in the ledger."
    if case.ledger.torn_lines:
        yield f"{case.ledger.torn_lines} torn lines in the ledger were passed over."
    if not case.books.board.exists and _may_have_expired(case):
        yield "Redis has let the session's keys expire; the board was not compared."
    if case.results is None:
        yield "The API was not asked for the results."
