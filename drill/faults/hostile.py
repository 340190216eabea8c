"""Attackers who ask for what is expensive, while members bid."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import psutil

from core.config import PROJECT_ROOT
from dev.bench.servers.stack import seed_members
from dev.errors import DevError
from drill.environment.round_context import RoundContext
from drill.faults.attackers import ATTACKS, CONNECTIONS, Target, encode_order
from loadtest.sale import members

WINNERS = 2700
# Members bid seldom enough not to wait for each other.
MEMBER_PAUSE_SECONDS = 0.3
IDLE_SECONDS = 3.0
ATTACK_SECONDS = 4.0
# Fills buckets and queues.
RAMP_SECONDS = 1.0
REST_SECONDS = 1.0
SAMPLE_SECONDS = 0.1
RESULTS_SECONDS = 30.0
MAX_SLOWDOWN = 5.0
MAX_MEMORY_GROWTH = 1.5
_RANK_EVERYBODY = """
    INSERT INTO rankings (session_id, user_id, rank, sequence, price, score)
    SELECT %(session)s, id, number, number, 100, 1
      FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM users) AS numbered
     WHERE number <= %(count)s
"""


def attack(context: RoundContext) -> None:
    """Each attack in turn. Raises DevError when bids slow down or memory grows too much."""
    targets = list(_targets(context))
    with _unhurried(context):
        bad = list(_attack_each(context, targets))
    if bad:
        raise DevError("\n".join(["Attacks cost too much.", *bad]))


@contextmanager
def _unhurried(context: RoundContext) -> Iterator[None]:
    context.crowd.pause_seconds, usual = MEMBER_PAUSE_SECONDS, context.crowd.pause_seconds
    try:
        yield
    finally:
        context.crowd.pause_seconds = usual


def _attack_each(context: RoundContext, targets: Sequence[Target]) -> Iterator[str]:
    """Notes of what attacks cost; yields those of which it was too much."""
    time.sleep(REST_SECONDS)
    idle_bytes = _memory_bytes(context)
    context.notes.append(f"idle: memory {idle_bytes / 2**20:.0f} MiB")
    for name, target in zip(ATTACKS, targets, strict=True):
        # Anew for each: the machine may be busier now.
        idle_seconds = _median_seconds(context, IDLE_SECONDS)
        note, is_bad = _measure(context, name, target, idle_seconds, idle_bytes)
        context.notes.append(note)
        if is_bad:
            yield note
        time.sleep(REST_SECONDS)


def _targets(context: RoundContext) -> Iterator[Target]:
    """One for each attack: from an address of its own."""
    tokens = members.read_tokens(seed_members(context.servers, WINNERS), CONNECTIONS)
    terms = {"name": "Hostile", "upset_price": 100, "duration_minutes": 60}
    opened, closed = (
        context.api.call("POST", "/api/admin/sessions/combined", {**terms, "inventory": inventory})
        for inventory in (20, WINNERS)
    )
    context.api.call("PUT", f"/api/admin/sessions/{closed['session_id']}/close")
    context.api.wait_for_results(closed["session_id"], RESULTS_SECONDS)
    with context.postgres() as cursor:
        cursor.execute(_RANK_EVERYBODY, {"session": closed["session_id"], "count": WINNERS})
    for number, _ in enumerate(ATTACKS, start=1):
        yield Target(
            port=context.stack.port,
            address=f"127.0.1.{number}",
            open_session=opened["session_id"],
            closed_session=closed["session_id"],
            tokens=[member.token for member in tokens],
        )


def _measure(
    context: RoundContext, name: str, target: Target, idle_seconds: float, idle_bytes: int
) -> tuple[str, bool]:
    """What one attack cost, in a line, and whether that is too much."""
    order = encode_order(name, target, ATTACK_SECONDS + RAMP_SECONDS)
    began_at = time.monotonic() + RAMP_SECONDS
    most_bytes = 0
    with subprocess.Popen(
        [sys.executable, "-m", "drill.faults.attackers"],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as attackers:
        assert attackers.stdin  # noqa: S101 - a pipe
        assert attackers.stdout  # noqa: S101 - a pipe
        attackers.stdin.write(f"{order}\n")
        attackers.stdin.close()
        while attackers.poll() is None:
            most_bytes = max(most_bytes, _memory_bytes(context))
            time.sleep(SAMPLE_SECONDS)
        answers = json.loads(attackers.stdout.read())
    median = context.crowd.median_seconds(began_at, time.monotonic())
    slowdown, growth = median / idle_seconds, most_bytes / idle_bytes
    note = (
        f"{name}: a bid's median {median * 1000:.1f} ms, idle {idle_seconds * 1000:.1f} ms"
        f" ({slowdown:.1f} x), memory {growth:.2f} x; answers {_counts(answers)}"
    )
    return note, slowdown > MAX_SLOWDOWN or growth > MAX_MEMORY_GROWTH


def _median_seconds(context: RoundContext, seconds: float) -> float:
    began_at = time.monotonic()
    time.sleep(seconds)
    return context.crowd.median_seconds(began_at, time.monotonic())


def _memory_bytes(context: RoundContext) -> int:
    """Resident memory of the web processes."""
    total = 0
    for process in context.stack["web"].children():
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
            total += sum(each.memory_info().rss for each in process.children(recursive=True))
    return total


def _counts(answers: Mapping[str, int]) -> str:
    return ", ".join(f"{status}: {number}" for status, number in sorted(answers.items())) or "none"
