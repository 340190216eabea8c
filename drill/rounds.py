"""One round: bids, the fault at a random moment, recovery, the close, the verdict."""

import time
from typing import Any

import psycopg2
import redis

from dev.errors import DevError
from drill.environment.environment import DrillEnvironment
from drill.environment.round_context import RoundContext, start_round
from drill.faults.faults import Fault
from drill.judge import RoundOutcome, judge
from drill.progress import DrillProgress
from loadtest.errors import LoadTestError
from loadtest.sale.api import Unreachable

BIDDING_TIMEOUT_SECONDS = 45.0
RECOVERY_TIMEOUT_SECONDS = 40.0
# Bids continue during every fault except in Redis or in all web processes at once.
MAX_PAUSE_SECONDS = 3.0
# A session that ends on time must last long enough for slow machines.
SLOWEST_BIDS_PER_SECOND = 100.0
SHORTEST_SESSION_SECONDS = 5.0
# A second close would do damage within this time: ticks are a second apart.
SECOND_CLOSE_SECONDS = 3.0
POLL_SECONDS = 0.05
# Errors that a faulty stack causes in the drill.
FAILURES = (DevError, LoadTestError, Unreachable, OSError, psycopg2.Error, redis.RedisError)


def run_round(
    fault: Fault, environment: DrillEnvironment, seed: int, bids: int, progress: DrillProgress
) -> RoundOutcome:
    """Run one round. Failures from here on count as the fault's effect."""
    lasts = max(SHORTEST_SESSION_SECONDS, bids / SLOWEST_BIDS_PER_SECOND)
    context = start_round(environment, seed, lasts if fault.ends_on_time else None)
    current = _Round(fault, context, bids, progress)
    try:
        current.bid_and_inject()
    except FAILURES as error:
        # The ledger is verified all the same.
        current.problems.append(str(error))
    try:
        results = current.end()
        return judge(fault, context, current.outcome(), results)
    except FAILURES as error:
        current.problems.append(str(error))
        return current.outcome()


class _Round:
    """A running round."""

    def __init__(
        self, fault: Fault, context: RoundContext, bids: int, progress: DrillProgress
    ) -> None:
        self._fault, self._context, self._bids, self._progress = fault, context, bids, progress
        self.problems: list[str] = []
        self._pause_seconds = self._recovery_seconds = 0.0

    def outcome(self) -> RoundOutcome:
        """The outcome so far, without the ledger's verdict."""
        crowd = self._context.crowd
        return RoundOutcome(
            acknowledged=crowd.acknowledged,
            refused=crowd.counts["status 503"],
            pause_seconds=self._pause_seconds,
            recovery_seconds=self._recovery_seconds,
            problems=tuple(self.problems),
            notes=tuple(self._context.notes),
        )

    def bid_and_inject(self) -> None:
        fault, context = self._fault, self._context
        with context.crowd.bidding():
            self._await_bids(int(self._bids * context.random.uniform(0.1, 0.5)))
            if not fault.during_close:
                self._inject_fault()
            self._await_bids(self._bids)
        if fault.during_close:
            self._inject_fault()

    def end(self) -> dict[str, Any]:
        """Close the session, unless the fault covers the close, and return its results."""
        self._progress.show_phase("waiting for the results")
        fault_meets_close = self._fault.during_close or self._fault.ends_on_time
        if not fault_meets_close:
            self._context.close()
        began_at = time.monotonic()
        results = self._context.await_results()
        if fault_meets_close:
            self._note_recovery(began_at)
            time.sleep(SECOND_CLOSE_SECONDS)
            results = self._context.await_results()
        return results

    def _await_bids(self, count: int) -> None:
        crowd, progress = self._context.crowd, self._progress
        deadline = min(time.monotonic() + BIDDING_TIMEOUT_SECONDS, self._context.ends_at)
        while crowd.acknowledged < count and time.monotonic() < deadline:
            progress.show_phase(f"{crowd.acknowledged} of {self._bids} bids")
            time.sleep(POLL_SECONDS)
        if crowd.acknowledged < count:
            raise DevError(f"Only {crowd.acknowledged} of {count} bids were accepted.")

    def _inject_fault(self) -> None:
        """Inject the fault and wait for recovery."""
        fault, context = self._fault, self._context
        self._progress.show_phase(fault.description)
        began_at = time.monotonic()
        fault.inject(context)
        if not (fault.during_close or fault.ends_on_time):
            self._await_recovery()
        if not fault.during_close:
            self._measure_pause(began_at)

    def _measure_pause(self, began_at: float) -> None:
        ended_at = min(time.monotonic(), self._context.ends_at)
        self._pause_seconds = self._context.crowd.longest_pause(began_at, ended_at)
        if not self._fault.stops_bids and self._pause_seconds > MAX_PAUSE_SECONDS:
            self.problems.append(f"No bid was accepted for {self._pause_seconds:.1f} s.")

    def _await_recovery(self) -> None:
        """Wait until bids are accepted again and all sequences assigned so far are persisted."""
        context, began_at = self._context, time.monotonic()
        assigned, accepted = context.sequence(), context.crowd.acknowledged
        self._progress.show_phase("recovering")
        while context.persisted() < assigned or context.crowd.acknowledged == accepted:
            if time.monotonic() - began_at > RECOVERY_TIMEOUT_SECONDS:
                logs = context.stack.log_tails()
                raise DevError(f"No recovery within {RECOVERY_TIMEOUT_SECONDS:.0f} s.\n{logs}")
            context.stack.restart_ended()
            time.sleep(POLL_SECONDS)
        self._note_recovery(began_at)

    def _note_recovery(self, began_at: float) -> None:
        self._recovery_seconds = time.monotonic() - began_at
        if self._recovery_seconds > self._fault.max_recovery_seconds:
            self.problems.append(f"Recovery took {self._recovery_seconds:.1f} s.")
