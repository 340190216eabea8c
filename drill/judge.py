"""What a round came to, by the ledger's verdict on what was left."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from drill.environment.scenario import Scene
from drill.faults.faults import Fault
from loadtest import settings
from loadtest.ledger import ledger, stored_state
from loadtest.ledger.verify import Case, Finding, KeptBids, Verdict, is_of, missing, verify

HOLDS = "holds"
NOT_PLAYED = "NOT PLAYED"
# What cannot hold when bids are gone by nature of the fault and reported one by one.
LOSS_RULES = frozenset(
    {
        "every answered bid is in bids, as it was answered",
        "sequences run from 1 without a gap, and all are persisted",
        "every answered rank was the rank of that moment",
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one round came to. `trouble` says in sentences what should not have been."""

    acknowledged: int = 0
    lost: int = 0
    # Lost by nature of the fault, and reported as lost by the system itself.
    reported: int = 0
    duplicated: int = 0
    # Winners beyond the items there were.
    oversold: int = 0
    refused: int = 0
    # The longest time in which no bid was accepted, from the fault's begin until recovery.
    pause_seconds: float = 0.0
    recovery_seconds: float = 0.0
    trouble: tuple[str, ...] = ()
    # False when the drill itself failed: that shows nothing, not even in a control round.
    was_played: bool = True

    @property
    def verdict(self) -> str:
        verdicts = {
            NOT_PLAYED: not self.was_played,
            "LOST": self.lost,
            "DUPLICATED": self.duplicated,
            "OVERSOLD": self.oversold,
            "FAILED": self.trouble,
        }
        return next((name for name, applies in verdicts.items() if applies), HOLDS)


def judge(fault: Fault, stage: Scene, played: Outcome, results: dict[str, Any]) -> Outcome:
    """The outcome with the ledger's verdict; the bidding and the fault are over."""
    recorded = ledger.read(ledger.find(stage.servers.folder), stage.session_id)
    servers = settings.servers(stage.servers.environ)
    case = Case(
        recorded,
        stored_state.read(servers, stage.session_id),
        results,
        servers.ended_keys_ttl_seconds,
    )
    verdict = _without_spoilt(verify(stage.session_id, case), stage.spoilt)
    lost = _lost(case)
    reported = _reported(stage, lost) if fault.loses_unpersisted else set()
    is_explained = fault.loses_unpersisted and lost == reported
    expected = LOSS_RULES if is_explained else frozenset()
    return replace(
        played,
        lost=len(lost - reported),
        reported=len(reported),
        duplicated=_duplicated(case),
        oversold=_oversold(case),
        trouble=(*played.trouble, *_differences(verdict, expected)),
    )


def _lost(case: Case) -> set[int]:
    """Sequences that a member was promised and that are not that member's in `bids`."""
    kept = KeptBids(case.books)
    lost = set()
    for attempt in case.ledger.attempts:
        if attempt.is_answered_yes and attempt.sequence is not None:
            bid = kept.of(attempt)
            if bid is None or not is_of(bid, attempt):
                lost.add(attempt.sequence)
    return lost


def _reported(stage: Scene, lost: set[int]) -> set[int]:
    """Those of the lost sequences that the system itself says are, or may be, lost."""
    with stage.postgres() as cursor:
        cursor.execute(
            "SELECT (details->>'first_missing')::bigint, (details->>'last_missing')::bigint"
            "  FROM session_events WHERE kind = 'bid_log_gap' AND session_id = %(session)s"
            " UNION ALL "
            "SELECT (details->>'persisted_sequence')::bigint + 1,"
            "       (details->>'next_sequence')::bigint - 1"
            "  FROM session_events WHERE kind = 'redis_lost' AND session_id = %(session)s",
            {"session": stage.session_id},
        )
        ranges = cursor.fetchall()
    return {bid for bid in lost if any(first <= bid <= last for first, last in ranges)}


def _duplicated(case: Case) -> int:
    """Rows beyond one for each bid: the same member at the same moment."""
    moments = {(bid.user_id, bid.accepted_at) for bid in case.books.bids}
    return len(case.books.bids) - len(moments)


def _oversold(case: Case) -> int:
    """Winners beyond the items, by the table of rankings or by what the API tells."""
    inventory = case.books.session.inventory
    winners = sum(place.rank <= inventory for place in case.books.rankings)
    told = len(case.results["winners"]) if case.results else 0
    return max(0, winners - inventory, told - inventory)


def _without_spoilt(verdict: Verdict, spoilt: set[int]) -> Verdict:
    """The verdict with the places the fault itself spoilt taken for granted."""
    expected = {
        missing(first, last)
        for first in spoilt
        for last in spoilt
        if first <= last and spoilt.issuperset(range(first, last + 1))
    }
    findings = []
    for finding in verdict.findings:
        left = [text for text in finding.differences if text not in expected]
        gone = len(finding.differences) - len(left)
        findings.append(Finding(finding.rule, finding.count - gone, left))
    return replace(verdict, findings=findings)


def _differences(verdict: Verdict, expected: AbstractSet[str]) -> list[str]:
    return [
        f"{finding.rule}: {finding.differences[0] if finding.differences else ''}"
        f" ({finding.count} in all)"
        for finding in verdict.findings
        if finding.count and finding.rule not in expected
    ]
