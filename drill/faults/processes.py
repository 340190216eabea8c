"""Faults of the Procfile's processes."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from dev.errors import DevError
from dev.stack import ProcfileProcess
from drill.environment.lock_points import await_statement, offset_held, table_locked
from drill.environment.round_context import RoundContext

_LIBRARIES = "lib/*/faketime/libfaketimeMT.so.1"
MAX_PAUSE_MS = 4000
HOUR_SECONDS = 3600
SLACK_SECONDS = 60
# Longer than any tick takes.
BEAT_DOWN_SECONDS = 1.5


def kill_worker_before_insert(context: RoundContext) -> None:
    with table_locked(context, "bids"):
        await_statement(context, "COPY bids%")
        context.stack["worker"].kill()
    context.sleep_between(0.0, 1.0)
    context.stack.start()


def kill_worker_before_commit(context: RoundContext) -> None:
    with offset_held(context):
        await_statement(context, "UPDATE bid_log_offsets%")
        context.stack["worker"].kill()
    context.sleep_between(0.0, 1.0)
    context.stack.start()


def kill_worker_before_trim(context: RoundContext) -> None:
    """Pause writes in Redis: the commit succeeds, the trim waits."""
    before = context.persisted()
    client = context.redis()
    try:
        with offset_held(context):
            await_statement(context, "UPDATE bid_log_offsets%")
            client.client_pause(MAX_PAUSE_MS, all=False)
        context.wait_for(lambda: context.persisted() > before, "the drain's commit")
        context.stack["worker"].kill()
        if _first_logged_sequence(context) > context.persisted():
            raise DevError("The worker trimmed the log before it was killed.")
    finally:
        client.client_unpause()
    context.stack.start()


def _first_logged_sequence(context: RoundContext) -> int:
    """The first sequence in the bid log."""
    entries: Any = context.redis().xrange(f"bidlog:{{{context.session_id}}}", count=1)
    return int(entries[0][0].partition("-")[0])


def kill_closer(context: RoundContext) -> None:
    """Kill the closer in one of the close's two transactions, at random."""
    table, statement = context.random.choice(
        [("bid_log_offsets", "%bid_log_offsets%"), ("rankings", "%INSERT INTO rankings%")]
    )
    mode = "ACCESS EXCLUSIVE" if table == "bid_log_offsets" else "SHARE"
    with table_locked(context, table, mode=mode):
        context.close()
        await_statement(context, statement)
        context.stack["closer"].kill()
    context.sleep_between(0.0, 1.0)
    context.stack.start()


def kill_helper(context: RoundContext) -> None:
    """Kill the pool's processes; their tasks return to the queue."""
    before = _weights(context)
    # The close may read it.
    with table_locked(context, "users", mode="SHARE"):
        context.close()
        await_statement(context, "%WITH counted AS%")
        for child in context.stack["helper"].children():
            child.kill()
    context.wait_for(
        lambda: _all_recomputed(_weights(context), before), "the bidders' recomputed weights"
    )


def _weights(context: RoundContext) -> dict[str, tuple[float, bool]]:
    """Each member's weight, and whether the member is in this session's results."""
    with context.postgres() as cursor:
        cursor.execute(
            "SELECT u.id::text, u.weight, r.user_id IS NOT NULL FROM users u"
            "  LEFT JOIN rankings r ON r.user_id = u.id AND r.session_id = %s",
            [context.session_id],
        )
        return {user_id: (weight, is_bidder) for user_id, weight, is_bidder in cursor}


def _all_recomputed(
    weights: dict[str, tuple[float, bool]], before: dict[str, tuple[float, bool]]
) -> bool:
    """Whether each bidder's weight has changed, as one more session joined changes it."""
    bidders = [user_id for user_id, (_, is_bidder) in weights.items() if is_bidder]
    changed = (weights[user_id][0] != before[user_id][0] for user_id in bidders)
    return bool(bidders) and all(changed)


def kill_beat(context: RoundContext) -> None:
    """No tick runs when the session ends."""
    context.stack["beat"].kill()
    context.await_end()
    context.sleep_between(BEAT_DOWN_SECONDS, 2 * BEAT_DOWN_SECONDS)
    context.stack.start()


def two_beats(context: RoundContext) -> None:
    with context.stack.extra_process("beat"):
        context.await_end()
        context.sleep_between(BEAT_DOWN_SECONDS, 2 * BEAT_DOWN_SECONDS)


def kill_web(context: RoundContext) -> None:
    """Kill three web processes, each after the previous one has been replaced."""
    web = context.stack["web"]
    processes = len(web.children())
    for _ in range(3):
        context.random.choice(web.children()).kill()
        context.sleep_between(0.1, 0.5)
        context.wait_for(lambda: _count_serving(web) == processes, "a new web process")


def _count_serving(web: ProcfileProcess) -> int:
    """Web processes that serve: they start threads with their first request."""
    count = 0
    for child in web.children():
        with suppress(psutil.NoSuchProcess):
            count += child.num_threads() > 1
    return count


def stop_all(context: RoundContext) -> None:
    codes = context.stack.stop()
    context.stack.start()
    if any(codes.values()) or None in codes.values():
        raise DevError(f"Not all processes exited cleanly: {codes}.")


def bid_under_shifted_clock(context: RoundContext) -> None:
    """Let bids continue; the web host's clock has been shifted from the start."""
    off_by = abs(context.api.server_time() - time.time())
    if not HOUR_SECONDS - SLACK_SECONDS < off_by < HOUR_SECONDS + SLACK_SECONDS:
        raise DevError(
            "The web process's clock is not shifted by an hour. On Debian: apt-get install faketime"
        )
    context.sleep_between(2.0, 3.0)


def shifted_clock(by: str) -> dict[str, str]:
    """Settings that shift a process's clock, if libfaketime is installed."""
    found = sorted(Path("/usr").glob(_LIBRARIES))
    if not found:
        return {}
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": by}
