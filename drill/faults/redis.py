"""Faults of Redis."""

import time
from typing import Any

from dev.embedded.server import has_ended
from drill.environment.scenario import Scene

SPELL_SECONDS = 3.0
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


def kill(stage: Scene) -> None:
    server = stage.servers.redis
    process = server.process()
    if process is not None:
        process.kill()
        stage.wait(lambda: has_ended(process), "the end of Redis")
    stage.rest(0.2, 1.0)
    server.restart()


def flush(stage: Scene) -> None:
    stage.redis().flushall()


def fill(stage: Scene) -> None:
    """No more memory than is in use."""
    client = stage.redis()
    used: Any = client.info("memory")
    client.config_set("maxmemory", max(1, used["used_memory"] // 2))
    time.sleep(SPELL_SECONDS)
    client.config_set("maxmemory", 0)


def make_read_only(stage: Scene) -> None:
    """As a failover gone wrong: a replica of a server that is not there."""
    client = stage.redis()
    client.replicaof("127.0.0.1", "1")
    time.sleep(SPELL_SECONDS)
    client.replicaof("NO", "ONE")


def spoil_log(stage: Scene) -> None:
    """Entries that make no sense, at places of their own; set aside and counted."""
    client = stage.redis()
    names = [f"session:params:{{{stage.session_id}}}", f"bidlog:{{{stage.session_id}}}"]
    for fields in _BAD_FIELDS:
        sequence: Any = client.eval(_NEXT_SEQUENCE, 2, *names, *fields)
        stage.spoilt.add(int(sequence))
        stage.rest(0.1, 0.6)
    stage.wait(lambda: _set_aside(stage) == len(_BAD_FIELDS), "the report of malformed entries")


def _set_aside(stage: Scene) -> int:
    with stage.postgres() as cursor:
        cursor.execute(
            "SELECT count(*) FROM session_events"
            " WHERE kind = 'bid_log_entry_set_aside' AND session_id = %s",
            [stage.session_id],
        )
        return int(cursor.fetchone()[0])
