"""The table of faults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from drill.environment.scenario import Scene
from drill.faults import broker, postgres, processes, redis
from drill.safeguards import guards
from drill.safeguards.guards import Control


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """One kind of fault. `control` is the guard that a control round takes away."""

    name: str
    words: str
    strike: Callable[[Scene], None]
    control: Control
    # Redis itself is unusable, or there is no web: no bid can be taken meanwhile.
    stops_bids: bool = False
    # It strikes when all bids are in.
    at_the_close: bool = False
    # The session ends by its clock, not because somebody closes it.
    ends_by_itself: bool = False
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
        processes.kill_worker_before_insert,
        guards.TRIM_BEFORE_COMMIT,
    ),
    Fault(
        "worker-before-commit",
        "worker killed -9 between insert and commit",
        processes.kill_worker_before_commit,
        guards.TRIM_BEFORE_COMMIT,
    ),
    Fault(
        "worker-before-trim",
        "worker killed -9 between commit and trim",
        processes.kill_worker_before_trim,
        guards.NO_OFFSET_CHECK,
    ),
    Fault(
        "closer-in-close",
        "closer killed -9 in the middle of the close",
        processes.kill_closer,
        guards.NO_RESULTS_SWEEP,
        at_the_close=True,
    ),
    Fault(
        "helper-in-weights",
        "the process that recomputes weights killed -9",
        processes.kill_helper,
        guards.WEIGHTS_ACKED_EARLY,
        at_the_close=True,
    ),
    Fault(
        "beat-killed",
        "beat killed -9, away when the session's time is over",
        processes.kill_beat,
        guards.NO_CATCH_UP,
        ends_by_itself=True,
    ),
    Fault(
        "two-beats",
        "two beats at once when the session's time is over",
        processes.two_beats,
        guards.CLOSE_UNCHECKED,
        ends_by_itself=True,
    ),
    Fault(
        "web-killed",
        "web processes killed -9 during bids",
        processes.kill_web,
        guards.LOG_IN_MEMORY,
    ),
    Fault(
        "postgres-stopped",
        "PostgreSQL stopped at once for 10 s",
        postgres.stop,
        guards.BIDS_ASK_POSTGRES,
        recovers_within_seconds=10.0,
    ),
    Fault(
        "postgres-cut",
        "PostgreSQL's connections cut",
        postgres.cut,
        guards.TRIM_BEFORE_COMMIT,
        recovers_within_seconds=10.0,
    ),
    Fault(
        "tables-locked",
        "a lock on all tables for 10 s",
        postgres.lock_tables,
        guards.BIDS_ASK_POSTGRES,
        recovers_within_seconds=10.0,
    ),
    Fault(
        "disk-full",
        "no space left for PostgreSQL, until somebody makes some",
        postgres.fill_disk,
        guards.TRIM_BEFORE_COMMIT,
        disk_mib=postgres.DISK_MIB,
    ),
    Fault(
        "redis-killed",
        "Redis killed -9 and restarted from its file",
        redis.kill,
        guards.NO_APPENDONLY,
        stops_bids=True,
    ),
    Fault(
        "redis-flushed",
        "FLUSHALL in mid-session",
        redis.flush,
        guards.NO_LOSS_REPORT,
        stops_bids=True,
        loses_unpersisted=True,
    ),
    Fault(
        "redis-full",
        "Redis out of memory for 3 s",
        redis.fill,
        guards.EVICTING,
        stops_bids=True,
    ),
    Fault(
        "redis-read-only",
        "Redis read-only for 3 s",
        redis.make_read_only,
        guards.YES_ON_ERROR,
        stops_bids=True,
    ),
    Fault(
        "bad-entry",
        "malformed entries in the bid log",
        redis.spoil_log,
        guards.BAD_ENTRY_RAISES,
    ),
    Fault(
        "queues-deleted",
        "the broker's queues deleted while a drain waits in one",
        broker.delete_queues,
        guards.SINGLE_DRAIN,
    ),
    Fault(
        "tasks-twice",
        "every task delivered twice, and late",
        broker.deliver_twice,
        guards.NO_LOCK,
    ),
    Fault(
        "all-at-once",
        "six drains and six closes of one session at once",
        broker.all_at_once,
        guards.NO_LOCK,
        at_the_close=True,
    ),
    Fault(
        "clock-ahead",
        "the web host's clock an hour ahead",
        processes.bid_by_a_wrong_clock,
        guards.WEB_CLOCK,
        changes={"web": processes.shifted_clock("+1h")},
    ),
    Fault(
        "clock-behind",
        "the web host's clock an hour behind",
        processes.bid_by_a_wrong_clock,
        guards.WEB_CLOCK,
        changes={"web": processes.shifted_clock("-1h")},
    ),
    Fault(
        "sigterm",
        "SIGTERM to everything in the peak",
        processes.stop_all,
        guards.LOG_IN_MEMORY,
        stops_bids=True,
    ),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
