"""One round: a fresh stack, bids, the fault, recovery, the close, the verdict."""

import time
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
import redis

from dev.errors import DevError
from drill.faults import Fault
from drill.scene import Scene, scene
from loadtest import books, ledger, settings
from loadtest.api import Unreachable
from loadtest.errors import LoadTestError
from loadtest.verify import Case, Finding, Verdict, missing, verify

RESULTS_PATIENCE_SECONDS = 60.0
BIDDING_PATIENCE_SECONDS = 90.0
RECOVERY_PATIENCE_SECONDS = 40.0
POLL_SECONDS = 0.05
# What a stack that is not well does to the drill itself.
FAILURES = (DevError, LoadTestError, Unreachable, OSError, psycopg2.Error, redis.RedisError)
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
    refused: int = 0
    recovery_seconds: float = 0.0
    trouble: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        if self.lost:
            return "LOST"
        if self.duplicated:
            return "DUPLICATED"
        return "FAILED" if self.trouble else "holds"


def play(fault: Fault, seed: int, bids: int, control: str | None = None) -> Outcome:
    """Play one round of a fault."""
    try:
        with scene(seed, control, fault.changes, fault.disk_mib) as stage:
            return _play(fault, stage, bids)
    except FAILURES as error:
        return Outcome(trouble=(str(error),))


def _play(fault: Fault, stage: Scene, bids: int) -> Outcome:
    trouble: list[str] = []
    recovery = 0.0
    with stage.crowd.bidding() as crowd:
        stage.wait(lambda: crowd.acknowledged > bids * stage.random.uniform(0.1, 0.5), "first bids")
        if not fault.at_the_close:
            recovery = _strike(fault, stage, trouble)
        give_up_at = time.monotonic() + BIDDING_PATIENCE_SECONDS
        while crowd.acknowledged < bids and time.monotonic() < give_up_at:
            time.sleep(POLL_SECONDS)
        if crowd.acknowledged < bids:
            trouble.append(f"Only {crowd.acknowledged} bids were accepted.")
    if fault.at_the_close:
        recovery = _strike(fault, stage, trouble)
    else:
        stage.api.call("PUT", f"/api/admin/sessions/{stage.session_id}/close")
    return _judge(fault, stage, trouble, recovery)


def _strike(fault: Fault, stage: Scene, trouble: list[str]) -> float:
    """Let the fault happen; the seconds from its end until all is as if it had not been."""
    before = stage.crowd.acknowledged
    fault.strike(stage)
    if not (fault.stops_bids or fault.at_the_close) and stage.crowd.acknowledged == before:
        trouble.append("No bid was accepted during the fault.")
    ended = time.monotonic()
    if fault.at_the_close:
        stage.api.wait_for_results(stage.session_id, RESULTS_PATIENCE_SECONDS)
        return time.monotonic() - ended
    given_out, accepted = stage.sequence(), stage.crowd.acknowledged
    while stage.persisted() < given_out or stage.crowd.acknowledged == accepted:
        if time.monotonic() - ended > RECOVERY_PATIENCE_SECONDS:
            trouble.append(
                f"Not recovered after {RECOVERY_PATIENCE_SECONDS:.0f} s.\n{stage.stack.said()}"
            )
            break
        # The drill is the supervisor, too: Celery may end when its broker dies.
        stage.stack.revive()
        time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - ended
    if seconds > fault.recovers_within_seconds:
        trouble.append(f"Recovery took {seconds:.1f} s.")
    return seconds


def _judge(fault: Fault, stage: Scene, trouble: list[str], recovery: float) -> Outcome:
    folder: Path = stage.servers.folder
    recorded = ledger.read(ledger.find(folder), stage.session_id)
    counts = stage.crowd.counts
    outcome = Outcome(
        acknowledged=stage.crowd.acknowledged,
        refused=counts["status 503"],
        recovery_seconds=recovery,
        trouble=tuple(trouble),
    )
    try:
        results = stage.api.wait_for_results(stage.session_id, RESULTS_PATIENCE_SECONDS)
    except LoadTestError as error:
        return replace(outcome, trouble=(*trouble, str(error)))
    servers = settings.servers(stage.servers.environ)
    case = Case(
        recorded, books.read(servers, stage.session_id), results, servers.ended_keys_ttl_seconds
    )
    verdict = _without_spoilt(verify(stage.session_id, case), stage.spoilt)
    lost = _lost(case)
    reported = _reported(stage, lost) if fault.loses_unpersisted else set()
    is_explained = fault.loses_unpersisted and lost == reported
    expected = LOSS_RULES if is_explained else frozenset()
    return replace(
        outcome,
        lost=len(lost - reported),
        reported=len(reported),
        duplicated=_duplicated(case),
        trouble=(*trouble, *_differences(verdict, expected)),
    )


def _lost(case: Case) -> set[int]:
    """Sequences that a member was promised and that are not that member's in `bids`."""
    kept = {(bid.sequence, bid.user_id) for bid in case.books.bids}
    answered = {(a.sequence, a.user_id) for a in case.ledger.attempts if a.is_answered_yes}
    return {sequence for sequence, _ in answered - kept if sequence is not None}


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
