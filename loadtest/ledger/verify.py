"""Compares the ledger with the stored state: is every confirmed bid stored once and ranked right?

Each check yields one sentence per difference. Scores and ranks are recomputed from the bids
with a separate implementation of the formula.
"""

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import groupby, islice, pairwise
from typing import Any

from loadtest.ledger import binding, to_pay
from loadtest.ledger.ledger import ACCEPTED, Attempt, LedgerContents
from loadtest.ledger.matching import StoredBids, moment
from loadtest.ledger.stored_state import BidRow, Place, StoredState

LISTED = 20
MICROSECOND = timedelta(microseconds=1)

Differences = Iterator[str]


@dataclass(frozen=True, slots=True)
class VerificationInput:
    """The ledger, the stored state, and the session's results from the API."""

    ledger: LedgerContents
    stored: StoredState
    results: Mapping[str, Any] | None
    ended_keys_ttl_seconds: int


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check. `differences` is limited to LISTED, `count` is not."""

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
        """The verdict as text."""
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


def verify(session_id: str, case: VerificationInput) -> Verdict:
    """Run every check."""
    findings = [_finding(rule, check(case)) for rule, check in CHECKS]
    return Verdict(session_id, findings, list(_notes(case)))


def _finding(rule: str, differences: Differences) -> Finding:
    listed = list(islice(differences, LISTED))
    return Finding(rule, len(listed) + sum(1 for _ in differences), listed)


def _confirmed_bids_are_stored(case: VerificationInput) -> Differences:
    stored_bids = StoredBids(case.stored)
    for attempt in case.ledger.attempts:
        if attempt.is_confirmed:
            bid = stored_bids.matching(attempt)
            if bid is None:
                yield f"bid {attempt.sequence} of {attempt.user_id} is not in bids"
            else:
                yield from _compare(attempt, bid)


def _compare(attempt: Attempt, bid: BidRow) -> Differences:
    fields = (
        ("user", attempt.user_id, bid.user_id),
        ("price", Decimal(attempt.price), bid.price),
        ("score", _exact(attempt.score), _exact(bid.score)),
        ("response time", _exact(attempt.response_time), _exact(bid.response_time)),
        ("weight", _exact(attempt.weight), _exact(bid.weight)),
        ("moment", moment(attempt.accepted_at), bid.accepted_at),
    )
    for name, answered, kept in fields:
        if answered != kept:
            yield f"bid {bid.sequence}: answered {name} {answered}, stored {kept}"


def _no_bid_is_answered_twice(case: VerificationInput) -> Differences:
    """Two requests accepted as one new bid. Replays are marked as such."""
    stored_bids = StoredBids(case.stored)
    accepted = [
        (a.sequence, stored_bids.matching(a)) for a in case.ledger.attempts if a.kind == ACCEPTED
    ]
    answers = Counter(bid.sequence if bid else answered for answered, bid in accepted)
    for sequence, count in answers.items():
        if count > 1:
            yield f"bid {sequence} was answered as newly accepted {count} times"


def missing(first: int, last: int) -> str:
    """The sentence about sequences missing in `bids`."""
    one = first == last
    return f"sequence {first} is missing" if one else f"sequences {first} to {last} are missing"


def _sequences_have_no_gap(case: VerificationInput) -> Differences:
    counted = Counter(bid.sequence for bid in case.stored.bids)
    yield from (f"sequence {seq} occurs {n} times" for seq, n in counted.items() if n > 1)
    last = max(counted, default=0)
    for before, after in pairwise([0, *sorted(counted)]):
        if after > before + 1:
            yield missing(before + 1, after - 1)
    if case.stored.persisted_sequence != last:
        yield f"persisted_sequence is {case.stored.persisted_sequence}, but the last bid is {last}"
    if case.stored.board.exists and case.stored.board.sequence != last:
        yield f"Redis assigned {case.stored.board.sequence} sequences, but the last bid is {last}"
    if case.stored.board.log_length:
        yield f"{case.stored.board.log_length} bids are still in the bid log"


def _bids_were_requested(case: VerificationInput) -> Differences:
    """Bids of our members without a request in the ledger."""
    ours = {attempt.user_id for attempt in case.ledger.attempts}
    requested = {(a.user_id, Decimal(a.price)) for a in case.ledger.attempts if a.may_be_stored}
    for bid in case.stored.bids:
        if bid.user_id in ours and (bid.user_id, bid.price) not in requested:
            yield f"bid {bid.sequence} of {bid.user_id} at {bid.price} was never requested"


def _bids_are_in_time(case: VerificationInput) -> Differences:
    session = case.stored.session
    for bid in case.stored.bids:
        if bid.accepted_at >= session.end:
            yield f"bid {bid.sequence} was accepted at {bid.accepted_at}, the end is {session.end}"
        if bid.accepted_at < session.start:
            yield f"bid {bid.sequence} was accepted before the start"
    for attempt in case.ledger.attempts:
        if attempt.is_confirmed and moment(attempt.accepted_at) >= session.end:
            yield f"bid {attempt.sequence} was answered as accepted after the end"


def _prices_are_admissible(case: VerificationInput) -> Differences:
    for bid in case.stored.bids:
        if bid.price < case.stored.session.upset_price:
            yield f"bid {bid.sequence} at {bid.price} is below the upset price"


def _no_standing_price_was_lowered(case: VerificationInput) -> Differences:
    return binding.lowered_prices(case.stored)


def _better_bids_are_better(case: VerificationInput) -> Differences:
    return binding.bids_that_are_not_better(case.ledger.attempts, case.stored)


def _highest_bid_stands(case: VerificationInput) -> Differences:
    return binding.wrong_highest_bids(case.stored)


def _scores_are_right(case: VerificationInput) -> Differences:
    session = case.stored.session
    for bid in case.stored.bids:
        waited = ((bid.accepted_at - session.start) // MICROSECOND) / 1_000_000
        if _exact(waited) != _exact(bid.response_time):
            yield f"bid {bid.sequence}: response time {bid.response_time!r}, recomputed {waited!r}"
        score = session.alpha * float(bid.price)
        score += session.beta / (bid.response_time + 1)
        score += session.gamma * bid.weight
        if _exact(score) != _exact(bid.score):
            yield f"bid {bid.sequence}: score {bid.score!r}, recomputed {score!r}"


def _weights_are_fixed(case: VerificationInput) -> Differences:
    weights: defaultdict[str, set[float]] = defaultdict(set)
    for bid in case.stored.bids:
        weights[bid.user_id].add(bid.weight)
    for user_id, seen in weights.items():
        if len(seen) > 1:
            yield f"{user_id} bid with weights {sorted(seen)}"


def _answered_ranks_are_right(case: VerificationInput) -> Differences:
    """Replay the bids in order and compare each answered rank with the rank at that moment,
    when other bids may have been accepted by the same call.

    Skips bids whose sequence has changed: they were ranked on a board that had lost others.
    """
    stored_bids = StoredBids(case.stored)
    accepted = [(a, stored_bids.matching(a)) for a in case.ledger.attempts if a.kind == ACCEPTED]
    answered_ranks = {
        a.sequence: a.rank for a, bid in accepted if bid and bid.sequence == a.sequence
    }
    board: list[tuple[float, int]] = []
    standing: dict[str, tuple[float, int]] = {}
    for _, together in groupby(case.stored.bids, key=lambda bid: bid.accepted_at):
        bids = list(together)
        for bid in bids:
            if bid.user_id in standing:
                board.remove(standing[bid.user_id])
            standing[bid.user_id] = (-bid.score, bid.sequence)
            insort(board, standing[bid.user_id])
        for bid in bids:
            rank = board.index((-bid.score, bid.sequence)) + 1
            answered = answered_ranks.get(bid.sequence, rank)
            if answered != rank:
                yield f"bid {bid.sequence} was answered with rank {answered}, but had rank {rank}"


def _rankings_are_right(case: VerificationInput) -> Differences:
    expected = recompute(case.stored.bids)
    yield from _different("rankings", expected, case.stored.rankings)


def _winners_are_the_best(case: VerificationInput) -> Differences:
    inventory = case.stored.session.inventory
    won = {place.user_id for place in case.stored.rankings if place.rank <= inventory}
    best = {place.user_id for place in recompute(case.stored.bids)[:inventory]}
    winners = sum(place.rank <= inventory for place in case.stored.rankings)
    if winners > inventory:
        yield f"{winners} winners for {inventory} items"
    yield from (f"{user_id} won, but is not among the best" for user_id in sorted(won - best))
    yield from (f"{user_id} is among the best, but did not win" for user_id in sorted(best - won))


def _prices_to_pay_are_right(case: VerificationInput) -> Differences:
    if case.stored.rankings:
        yield from to_pay.wrong_prices(case.stored, _ranked(case.stored.bids))


def _board_is_the_ranking(case: VerificationInput) -> Differences:
    if not case.stored.board.exists:
        if case.stored.bids and not _may_have_expired(case):
            yield "Redis has no keys of this session, but they cannot have expired yet"
        return
    rankings = [Place(p.rank, p.user_id, p.sequence, p.score) for p in case.stored.rankings]
    yield from _different("the board in Redis", rankings, case.stored.board.places)


def _results_are_the_ranking(case: VerificationInput) -> Differences:
    if case.results is None:
        return
    rankings = [_entry(place) for place in case.stored.rankings]
    listed = [_result_entry(entry) for entry in case.results["rankings"]]
    yield from _different("/api/results", rankings, listed)
    inventory = case.stored.session.inventory
    winners = [_result_entry(entry) for entry in case.results["winners"]]
    yield from _different("winners in /api/results", rankings[:inventory], winners)
    if case.results["total_winners"] != len(winners):
        yield f"total_winners is {case.results['total_winners']}, but {len(winners)} are listed"
    for entry in [*case.results["rankings"], *case.results["winners"]]:
        told, due = entry["price_to_pay"], case.stored.prices_to_pay.get(entry["rank"])
        if (None if told is None else _cents(told)) != due:
            yield f"/api/results: rank {entry['rank']} pays {told}, stored is {due}"
    for entry in case.results["rankings"]:
        if entry["is_winner"] != (entry["rank"] <= inventory):
            yield f"rank {entry['rank']} has is_winner {entry['is_winner']}"


CHECKS: Sequence[tuple[str, Callable[[VerificationInput], Differences]]] = (
    ("every confirmed bid is stored as answered", _confirmed_bids_are_stored),
    ("no bid was answered twice as new", _no_bid_is_answered_twice),
    ("sequences run from 1 without a gap and are all persisted", _sequences_have_no_gap),
    ("every stored bid was requested", _bids_were_requested),
    ("every bid was accepted between start and end", _bids_are_in_time),
    ("no bid is below the upset price", _prices_are_admissible),
    ("no standing price was lowered where that is not allowed", _no_standing_price_was_lowered),
    ("every bid that had to be better than the standing one was", _better_bids_are_better),
    ("the highest bid is the highest price that stands", _highest_bid_stands),
    ("every score is the recomputed one, to the last bit", _scores_are_right),
    ("every member bid with one weight only", _weights_are_fixed),
    ("every answered rank was right at that moment", _answered_ranks_are_right),
    ("the rankings are the recomputed ones", _rankings_are_right),
    ("the winners are the best bidders, at most as many as items", _winners_are_the_best),
    ("every price to pay is the recomputed one", _prices_to_pay_are_right),
    ("the board in Redis equals the rankings", _board_is_the_ranking),
    ("/api/results equals the rankings", _results_are_the_ranking),
)


def recompute(bids: Iterable[BidRow]) -> list[Place]:
    """Final places by each member's last bid: best score first, ties by sequence."""
    return [
        Place(rank, bid.user_id, bid.sequence, bid.score, bid.price)
        for rank, bid in enumerate(_ranked(bids), 1)
    ]


def _ranked(bids: Iterable[BidRow]) -> list[BidRow]:
    standing = {bid.user_id: bid for bid in sorted(bids, key=lambda bid: bid.sequence)}
    return sorted(standing.values(), key=lambda bid: (-bid.score, bid.sequence))


def _different(where: str, expected: Sequence[Any], found: Sequence[Any]) -> Differences:
    if len(expected) != len(found):
        yield f"{where}: {len(found)} places, expected {len(expected)}"
    for left, right in zip(expected, found, strict=False):
        if left != right:
            yield f"{where}: found {_describe(right)}, expected {_describe(left)}"


def _describe(place: Any) -> str:
    if isinstance(place, Place):
        price = "" if place.price is None else f" at {place.price}"
        return f"rank {place.rank} {place.user_id} bid {place.sequence}{price} ({place.score!r})"
    rank, user_id, price, score = place
    return f"rank {rank} {user_id} at {price} ({score!r})"


def _entry(place: Place) -> tuple[int, str, Decimal | None, float]:
    return place.rank, place.user_id, place.price, place.score


def _result_entry(entry: Mapping[str, Any]) -> tuple[int, str, Decimal, float]:
    return entry["rank"], entry["user_id"], _cents(entry["price"]), float(entry["score"])


def _cents(price: float) -> Decimal:
    return Decimal(repr(price)).quantize(Decimal("0.01"))


def _exact(number: float | None) -> str:
    return "nothing" if number is None else float(number).hex()


def _may_have_expired(case: VerificationInput) -> bool:
    closed_at = case.stored.session.closed_at
    ttl = timedelta(seconds=case.ended_keys_ttl_seconds)
    return closed_at is not None and case.stored.now >= closed_at + ttl


def _notes(case: VerificationInput) -> Iterator[str]:
    ours = {attempt.user_id for attempt in case.ledger.attempts}
    confirmed = sum(attempt.is_confirmed for attempt in case.ledger.attempts)
    yield f"{len(case.ledger.attempts)} requests in the ledger, {confirmed} of them confirmed."
    yield f"{len(case.stored.bids)} bids, {len(case.stored.rankings)} members in the rankings."
    others = sum(bid.user_id not in ours for bid in case.stored.bids)
    if others:
        yield f"{others} bids belong to members who are not in the ledger."
    if case.ledger.torn_lines:
        yield f"{case.ledger.torn_lines} torn lines in the ledger were skipped."
    if not case.stored.board.exists and _may_have_expired(case):
        yield "The session's keys in Redis have expired; the board was not compared."
    if case.results is None:
        yield "The API's results were not compared."
