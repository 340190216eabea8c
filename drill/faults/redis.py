"""Redis faults."""

import time
from typing import Any

from dev.embedded.server import has_ended
from drill.environment.round_context import RoundContext

FAULT_SECONDS = 3.0
_NEXT_SEQUENCE = """
    local sequence = redis.call('HINCRBY', KEYS[1], 'sequence', 1)
    redis.call('XADD', KEYS[2], sequence .. '-0', unpack(ARGV))
    return sequence
"""
_BAD_FIELDS = (
    ("user_id", "nobody", "price", "1"),
    ("junk", b"\x00\xff"),
    ("user_id", "00000000-0000-0000-0000-000000000000", "price", "NaN"),
)


def kill(context: RoundContext) -> None:
    server = context.servers.redis
    process = server.process()
    if process is not None:
        process.kill()
        context.wait_for(lambda: has_ended(process), "the end of Redis")
    context.sleep_between(0.2, 1.0)
    server.restart()


def flush(context: RoundContext) -> None:
    context.redis().flushall()


def fill(context: RoundContext) -> None:
    """Limit maxmemory to half of what is in use."""
    client = context.redis()
    used: Any = client.info("memory")
    client.config_set("maxmemory", max(1, used["used_memory"] // 2))
    time.sleep(FAULT_SECONDS)
    client.config_set("maxmemory", 0)


def make_read_only(context: RoundContext) -> None:
    """Make it a replica of a missing server, as after a failed failover."""
    client = context.redis()
    client.replicaof("127.0.0.1", "1")
    time.sleep(FAULT_SECONDS)
    client.replicaof("NO", "ONE")


def corrupt_log(context: RoundContext) -> None:
    """Append malformed entries with separate sequences, and wait until they are set aside."""
    client = context.redis()
    names = [f"session:params:{{{context.session_id}}}", f"bidlog:{{{context.session_id}}}"]
    for fields in _BAD_FIELDS:
        sequence: Any = client.eval(_NEXT_SEQUENCE, 2, *names, *fields)
        context.corrupted.add(int(sequence))
        context.sleep_between(0.1, 0.6)
    context.wait_for(
        lambda: _count_set_aside(context) == len(_BAD_FIELDS), "the report of malformed entries"
    )


def _count_set_aside(context: RoundContext) -> int:
    with context.postgres() as cursor:
        cursor.execute(
            "SELECT count(*) FROM session_events"
            " WHERE kind = 'bid_log_entry_set_aside' AND session_id = %s",
            [context.session_id],
        )
        return int(cursor.fetchone()[0])
