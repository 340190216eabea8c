"""One round: bids, the fault at a moment of chance, recovery, the close, the verdict."""

import time
from typing import Any

import psycopg2
import redis

from dev.errors import DevError
from drill.environment.environment import Site
from drill.environment.scenario import Scene, open_scene
from drill.faults.faults import Fault
from drill.judge import Outcome, judge
from drill.progress import Progress
from loadtest.errors import LoadTestError
from loadtest.sale.api import Unreachable

BIDDING_PATIENCE_SECONDS = 45.0
RECOVERY_PATIENCE_SECONDS = 40.0
# Bids go on during every fault but those of Redis and of all web processes at once.
LONGEST_PAUSE_SECONDS = 3.0
# A session that ends by itself lasts as long as slow machines need for its bids.
SLOWEST_BIDS_PER_SECOND = 100.0
SHORTEST_SESSION_SECONDS = 5.0
# A second close that does harm does it by then: ticks are a second apart.
SECOND_CLOSE_SECONDS = 3.0
POLL_SECONDS = 0.05
# What a stack that is not well does to the drill itself.
FAILURES = (DevError, LoadTestError, Unreachable, OSError, psycopg2.Error, redis.RedisError)


def play(fault: Fault, site: Site, seed: int, bids: int, progress: Progress) -> Outcome:
    """Play one round. What fails from here on, the fault has done."""
    lasts = max(SHORTEST_SESSION_SECONDS, bids / SLOWEST_BIDS_PER_SECOND)
    stage = open_scene(site, seed, lasts if fault.ends_by_itself else None)
    played = _Round(fault, stage, bids, progress)
    try:
        played.bid_and_strike()
    except FAILURES as error:
        # The ledger shall say all the same whether bids were lost by it.
        played.trouble.append(str(error))
    try:
        results = played.end()
        return judge(fault, stage, played.outcome(), results)
    except FAILURES as error:
        played.trouble.append(str(error))
        return played.outcome()


class _Round:
    """A round on its way."""

    def __init__(self, fault: Fault, stage: Scene, bids: int, progress: Progress) -> None:
        self._fault, self._stage, self._bids, self._progress = fault, stage, bids, progress
        self.trouble: list[str] = []
        self._pause_seconds = self._recovery_seconds = 0.0

    def outcome(self) -> Outcome:
        """As far as the round has come, without the ledger's verdict."""
        crowd = self._stage.crowd
        return Outcome(
            acknowledged=crowd.acknowledged,
            refused=crowd.counts["status 503"],
            pause_seconds=self._pause_seconds,
            recovery_seconds=self._recovery_seconds,
            trouble=tuple(self.trouble),
        )

    def bid_and_strike(self) -> None:
        fault, stage = self._fault, self._stage
        with stage.crowd.bidding():
            self._await_bids(int(self._bids * stage.random.uniform(0.1, 0.5)))
            if not fault.at_the_close:
                self._strike()
            self._await_bids(self._bids)
        if fault.at_the_close:
            self._strike()

    def end(self) -> dict[str, Any]:
        """Close the session, unless that was the fault's part; its results."""
        self._progress.phase("waits for the results")
        meets_close = self._fault.at_the_close or self._fault.ends_by_itself
        if not meets_close:
            self._stage.close()
        began_at = time.monotonic()
        results = self._stage.await_results()
        if meets_close:
            self._recovered(began_at)
            time.sleep(SECOND_CLOSE_SECONDS)
            results = self._stage.await_results()
        return results

    def _await_bids(self, count: int) -> None:
        crowd, progress = self._stage.crowd, self._progress
        give_up_at = min(time.monotonic() + BIDDING_PATIENCE_SECONDS, self._stage.ends_at)
        while crowd.acknowledged < count and time.monotonic() < give_up_at:
            progress.phase(f"{crowd.acknowledged} of {self._bids} bids")
            time.sleep(POLL_SECONDS)
        if crowd.acknowledged < count:
            raise DevError(f"Only {crowd.acknowledged} of {count} bids were accepted.")

    def _strike(self) -> None:
        """Let the fault happen, and wait until all is as if it had not been."""
        fault, stage = self._fault, self._stage
        self._progress.phase(fault.words)
        began_at = time.monotonic()
        fault.strike(stage)
        if not (fault.at_the_close or fault.ends_by_itself):
            self._recover()
        if not fault.at_the_close:
            self._measure_pause(began_at)

    def _measure_pause(self, began_at: float) -> None:
        ended_at = min(time.monotonic(), self._stage.ends_at)
        self._pause_seconds = self._stage.crowd.longest_pause(began_at, ended_at)
        if not self._fault.stops_bids and self._pause_seconds > LONGEST_PAUSE_SECONDS:
            self.trouble.append(f"No bid was accepted for {self._pause_seconds:.1f} s.")

    def _recover(self) -> None:
        """Until bids are accepted and all that was given out by now is in PostgreSQL."""
        stage, began_at = self._stage, time.monotonic()
        given_out, accepted = stage.sequence(), stage.crowd.acknowledged
        self._progress.phase("recovers")
        while stage.persisted() < given_out or stage.crowd.acknowledged == accepted:
            if time.monotonic() - began_at > RECOVERY_PATIENCE_SECONDS:
                raise DevError(f"It did not recover.\n{stage.stack.said()}")
            stage.stack.revive()
            time.sleep(POLL_SECONDS)
        self._recovered(began_at)

    def _recovered(self, began_at: float) -> None:
        self._recovery_seconds = time.monotonic() - began_at
        if self._recovery_seconds > self._fault.recovers_within_seconds:
            self.trouble.append(f"Recovery took {self._recovery_seconds:.1f} s.")
