"""The table of faults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from drill import on_broker, on_postgres, on_processes, on_redis
from drill.scene import Scene


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. `control` names the guard that a control round takes away."""

    name: str
    words: str
    strike: Callable[[Scene], None]
    control: str | None = None
    # Redis itself is unusable, or there is no web: no bid can be taken meanwhile.
    stops_bids: bool = False
    at_the_close: bool = False
    # What Redis alone held is gone: it must be reported, bid by bid.
    loses_unpersisted: bool = False
    recovers_within_seconds: float = 30.0
    # Settings by the process that shall have them.
    changes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # The size of the file system that PostgreSQL gets; None for no bound.
    disk_mib: int | None = None


FAULTS = (
    Fault(
        "worker-before-insert",
        "worker killed -9 while its insert waits",
        on_processes.kill_worker_before_insert,
        "trim-before-commit",
    ),
    Fault(
        "worker-before-commit",
        "worker killed -9 between insert and commit",
        on_processes.kill_worker_before_commit,
        "trim-before-commit",
    ),
    Fault(
        "worker-before-trim",
        "worker killed -9 between commit and trim",
        on_processes.kill_worker_before_trim,
        "no-offset-check",
    ),
    Fault(
        "closer-in-close",
        "closer killed -9 in the middle of the close",
        on_processes.kill_closer,
        "no-results-sweep",
        at_the_close=True,
    ),
    Fault(
        "helper-in-weights",
        "the process that recomputes weights killed -9",
        on_processes.kill_helper,
        "weights-acked-early",
        at_the_close=True,
    ),
    Fault("beat-killed", "beat killed -9, started again", on_processes.kill_beat),
    Fault("two-beats", "two beats at once", on_processes.two_beats),
    Fault("web-killed", "web processes killed -9 during bids", on_processes.kill_web),
    Fault(
        "postgres-stopped",
        "PostgreSQL stopped at once for 10 s",
        on_postgres.stop,
        recovers_within_seconds=10.0,
    ),
    Fault("postgres-cut", "PostgreSQL's connections cut", on_postgres.cut),
    Fault("tables-locked", "a lock on all tables for 10 s", on_postgres.lock_tables),
    Fault(
        "disk-full",
        "no space left for PostgreSQL, until somebody makes some",
        on_postgres.fill_disk,
        disk_mib=on_postgres.DISK_MIB,
    ),
    Fault(
        "redis-killed",
        "Redis killed -9 and restarted from its file",
        on_redis.kill,
        "no-appendonly",
        stops_bids=True,
    ),
    Fault(
        "redis-flushed",
        "FLUSHALL in mid-session",
        on_redis.flush,
        stops_bids=True,
        loses_unpersisted=True,
    ),
    Fault("redis-full", "Redis out of memory for 3 s", on_redis.fill, stops_bids=True),
    Fault("redis-read-only", "Redis read-only for 3 s", on_redis.make_read_only, stops_bids=True),
    Fault("bad-entry", "malformed entries in the bid log", on_redis.spoil_log, "bad-entry-raises"),
    Fault("queues-deleted", "the broker's queues deleted", on_broker.delete_queues),
    Fault("tasks-twice", "every task delivered twice, and late", on_broker.deliver_twice),
    Fault(
        "all-at-once",
        "six drains and six closes of one session at once",
        on_broker.all_at_once,
        "no-lock",
        at_the_close=True,
    ),
    Fault(
        "clock-ahead",
        "the web host's clock an hour ahead",
        on_processes.bid_by_a_wrong_clock,
        changes={"web": on_processes.shifted_clock("+1h")},
    ),
    Fault(
        "clock-behind",
        "the web host's clock an hour behind",
        on_processes.bid_by_a_wrong_clock,
        changes={"web": on_processes.shifted_clock("-1h")},
    ),
    Fault("sigterm", "SIGTERM to everything in the peak", on_processes.stop_all, stops_bids=True),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
