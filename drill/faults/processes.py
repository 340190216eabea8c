"""Faults of the project's own processes."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from dev.errors import DevError
from dev.stack import Process
from drill.environment.lock_points import await_statement, offset_held, table_locked
from drill.environment.scenario import Scene

_LIBRARIES = "lib/*/faketime/libfaketimeMT.so.1"
LONGEST_HOLD_MS = 4000
HOUR_SECONDS = 3600
SLACK_SECONDS = 60
# Longer than any tick takes.
BEAT_AWAY_SECONDS = 1.5


def kill_worker_before_insert(stage: Scene) -> None:
    with table_locked(stage, "bids"):
        await_statement(stage, "COPY bids%")
        stage.stack["worker"].kill()
    stage.rest(0.0, 1.0)
    stage.stack.start()


def kill_worker_before_commit(stage: Scene) -> None:
    with offset_held(stage):
        await_statement(stage, "UPDATE bid_log_offsets%")
        stage.stack["worker"].kill()
    stage.rest(0.0, 1.0)
    stage.stack.start()


def kill_worker_before_trim(stage: Scene) -> None:
    """The trim waits at a Redis that takes no writes; the commit before it goes through."""
    before = stage.persisted()
    client = stage.redis()
    try:
        with offset_held(stage):
            await_statement(stage, "UPDATE bid_log_offsets%")
            client.client_pause(LONGEST_HOLD_MS, all=False)
        stage.wait(lambda: stage.persisted() > before, "the drain's commit")
        stage.stack["worker"].kill()
        if _log_begins_at(stage) > stage.persisted():
            raise DevError("The worker had trimmed the log before it was killed.")
    finally:
        client.client_unpause()
    stage.stack.start()


def _log_begins_at(stage: Scene) -> int:
    """The first sequence in the log."""
    entries: Any = stage.redis().xrange(f"bidlog:{{{stage.session_id}}}", count=1)
    return int(entries[0][0].partition("-")[0])


def kill_closer(stage: Scene) -> None:
    """In one of the close's two transactions, by chance."""
    table, statement = stage.random.choice(
        [("bid_log_offsets", "%bid_log_offsets%"), ("rankings", "%INSERT INTO rankings%")]
    )
    mode = "ACCESS EXCLUSIVE" if table == "bid_log_offsets" else "SHARE"
    with table_locked(stage, table, mode=mode):
        stage.close()
        await_statement(stage, statement)
        stage.stack["closer"].kill()
    stage.rest(0.0, 1.0)
    stage.stack.start()


def kill_helper(stage: Scene) -> None:
    """The pool's processes; what they had in hand goes back to its queue."""
    before = _weights(stage)
    with table_locked(stage, "users"):
        stage.close()
        await_statement(stage, "%UPDATE users u%")
        for child in stage.stack["helper"].children():
            child.kill()
    stage.wait(lambda: _are_new(_weights(stage), before), "the bidders' new weights")


def _weights(stage: Scene) -> dict[str, tuple[float, bool]]:
    """Every member's weight, and whether this session's results name them."""
    with stage.postgres() as cursor:
        cursor.execute(
            "SELECT u.id::text, u.weight, r.user_id IS NOT NULL FROM users u"
            "  LEFT JOIN rankings r ON r.user_id = u.id AND r.session_id = %s",
            [stage.session_id],
        )
        return {user_id: (weight, is_bidder) for user_id, weight, is_bidder in cursor}


def _are_new(weights: dict[str, tuple[float, bool]], before: dict[str, tuple[float, bool]]) -> bool:
    """Whether each bidder's weight has changed: one more session joined changes it."""
    bidders = [user_id for user_id, (_, is_bidder) in weights.items() if is_bidder]
    changed = (weights[user_id][0] != before[user_id][0] for user_id in bidders)
    return bool(bidders) and all(changed)


def kill_beat(stage: Scene) -> None:
    """Nobody ticks when the session's time is over."""
    stage.stack["beat"].kill()
    stage.await_end()
    stage.rest(BEAT_AWAY_SECONDS, 2 * BEAT_AWAY_SECONDS)
    stage.stack.start()


def two_beats(stage: Scene) -> None:
    with stage.stack.second("beat"):
        stage.await_end()
        stage.rest(BEAT_AWAY_SECONDS, 2 * BEAT_AWAY_SECONDS)


def kill_web(stage: Scene) -> None:
    """One after another, each when the one before has been replaced."""
    web = stage.stack["web"]
    processes = len(web.children())
    for _ in range(3):
        stage.random.choice(web.children()).kill()
        stage.rest(0.1, 0.5)
        stage.wait(lambda: _serving(web) == processes, "a new web process")


def _serving(web: Process) -> int:
    """Web processes that have threads: they get them with their first request."""
    count = 0
    for child in web.children():
        with suppress(psutil.NoSuchProcess):
            count += child.num_threads() > 1
    return count


def stop_all(stage: Scene) -> None:
    codes = stage.stack.stop()
    stage.stack.start()
    if any(codes.values()) or None in codes.values():
        raise DevError(f"Not all ended in good order: {codes}.")


def bid_by_a_wrong_clock(stage: Scene) -> None:
    """The web host's clock was wrong from the start; the fault is that bids go on under it."""
    off_by = abs(stage.api.server_time() - time.time())
    if not HOUR_SECONDS - SLACK_SECONDS < off_by < HOUR_SECONDS + SLACK_SECONDS:
        raise DevError("The web's clock is not off by an hour. On Debian: apt-get install faketime")
    stage.rest(2.0, 3.0)


def shifted_clock(by: str) -> dict[str, str]:
    """Settings under which a process sees another time, by libfaketime where it is installed."""
    found = sorted(Path("/usr").glob(_LIBRARIES))
    if not found:
        return {}
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": by}
