"""The outcome of a round: the ledger compared with the stored state."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from drill.environment.round_context import RoundContext
from drill.faults.faults import Fault
from loadtest import settings
from loadtest.ledger import ledger, stored_state
from loadtest.ledger.matching import StoredBids, is_same_bid
from loadtest.ledger.verify import Finding, Verdict, VerificationInput, missing, verify

HOLDS = "holds"
NOT_RUN = "NOT RUN"
# Rules that cannot hold when the fault loses bids and each loss is reported.
LOSS_RULES = frozenset(
    {
        "every confirmed bid is stored as answered",
        "sequences run from 1 without a gap and are all persisted",
        "every answered rank was right at that moment",
    }
)


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """The outcome of one round. `problems` lists everything wrong, in sentences."""

    acknowledged: int = 0
    lost: int = 0
    # Lost because of the fault, and reported as lost by the system.
    reported: int = 0
    duplicated: int = 0
    # Winners in excess of the inventory.
    oversold: int = 0
    refused: int = 0
    # Longest time without an accepted bid, from the fault until recovery.
    pause_seconds: float = 0.0
    recovery_seconds: float = 0.0
    problems: tuple[str, ...] = ()
    # What the fault measured, in lines.
    notes: tuple[str, ...] = ()
    # False when the drill itself failed: proves nothing, not even in a control round.
    was_run: bool = True

    @property
    def verdict(self) -> str:
        verdicts = {
            NOT_RUN: not self.was_run,
            "LOST": self.lost,
            "DUPLICATED": self.duplicated,
            "OVERSOLD": self.oversold,
            "FAILED": self.problems,
        }
        return next((name for name, applies in verdicts.items() if applies), HOLDS)


def judge(
    fault: Fault, context: RoundContext, outcome: RoundOutcome, results: dict[str, Any]
) -> RoundOutcome:
    """Complete the outcome with the ledger's verdict, after the close."""
    recorded = ledger.read(ledger.find(context.servers.folder), context.session_id)
    servers = settings.servers(context.servers.environ)
    case = VerificationInput(
        recorded,
        stored_state.read(servers, context.session_id),
        results,
        servers.ended_keys_ttl_seconds,
    )
    verdict = _without_corrupted(verify(context.session_id, case), context.corrupted)
    lost = _lost(case)
    reported = _reported(context, lost) if fault.loses_undrained_bids else set()
    is_explained = fault.loses_undrained_bids and lost == reported
    expected = LOSS_RULES if is_explained else frozenset()
    return replace(
        outcome,
        lost=len(lost - reported),
        reported=len(reported),
        duplicated=_duplicated(case),
        oversold=_oversold(case) + context.oversold,
        problems=(*outcome.problems, *_differences(verdict, expected)),
    )


def _lost(case: VerificationInput) -> set[int]:
    """Confirmed sequences whose bid in `bids` is missing or another member's."""
    stored_bids = StoredBids(case.stored)
    lost = set()
    for attempt in case.ledger.attempts:
        if attempt.is_confirmed and attempt.sequence is not None:
            bid = stored_bids.matching(attempt)
            if bid is None or not is_same_bid(bid, attempt):
                lost.add(attempt.sequence)
    return lost


def _reported(context: RoundContext, lost: set[int]) -> set[int]:
    """The lost sequences that the system reports as lost or possibly lost."""
    with context.postgres() as cursor:
        cursor.execute(
            "SELECT (details->>'first_missing')::bigint, (details->>'last_missing')::bigint"
            "  FROM session_events WHERE kind = 'bid_log_gap' AND session_id = %(session)s"
            " UNION ALL "
            "SELECT (details->>'persisted_sequence')::bigint + 1,"
            "       (details->>'next_sequence')::bigint - 1"
            "  FROM session_events WHERE kind = 'redis_lost' AND session_id = %(session)s",
            {"session": context.session_id},
        )
        ranges = cursor.fetchall()
    return {bid for bid in lost if any(first <= bid <= last for first, last in ranges)}


def _duplicated(case: VerificationInput) -> int:
    """Surplus rows: the same member at the same moment."""
    moments = {(bid.user_id, bid.accepted_at) for bid in case.stored.bids}
    return len(case.stored.bids) - len(moments)


def _oversold(case: VerificationInput) -> int:
    """Winners in excess of the inventory, in the rankings or in the API's results."""
    inventory = case.stored.session.inventory
    winners = sum(place.rank <= inventory for place in case.stored.rankings)
    listed = len(case.results["winners"]) if case.results else 0
    return max(0, winners - inventory, listed - inventory)


def _without_corrupted(verdict: Verdict, corrupted: set[int]) -> Verdict:
    """The verdict without differences at sequences that the fault itself corrupted."""
    expected = {
        missing(first, last)
        for first in corrupted
        for last in corrupted
        if first <= last and corrupted.issuperset(range(first, last + 1))
    }
    findings = []
    for finding in verdict.findings:
        left = [text for text in finding.differences if text not in expected]
        removed = len(finding.differences) - len(left)
        findings.append(Finding(finding.rule, finding.count - removed, left))
    return replace(verdict, findings=findings)


def _differences(verdict: Verdict, expected: AbstractSet[str]) -> list[str]:
    return [
        f"{finding.rule}: {finding.differences[0] if finding.differences else ''}"
        f" ({finding.count} in all)"
        for finding in verdict.findings
        if finding.count and finding.rule not in expected
    ]
