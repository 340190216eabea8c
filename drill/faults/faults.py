"""The table of faults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from drill.environment.round_context import RoundContext
from drill.faults import archive, broker, hostile, offers, postgres, processes, redis
from drill.safeguards import guards
from drill.safeguards.guards import Control


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """One kind of fault. `control` is the guard that a control round disables."""

    name: str
    description: str
    inject: Callable[[RoundContext], None]
    control: Control
    # Redis or the web is unavailable: no bid can be accepted meanwhile.
    stops_bids: bool = False
    # The fault is injected after the last bid.
    during_close: bool = False
    # The session ends at its end time; the drill does not close it.
    ends_on_time: bool = False
    # Bids that were only in Redis are lost: each must be reported.
    loses_undrained_bids: bool = False
    max_recovery_seconds: float = 30.0
    # Additional settings of single processes.
    settings_by_process: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # Size of PostgreSQL's file system; None: unlimited.
    disk_mib: int | None = None


FAULTS = (
    Fault(
        "worker-before-insert",
        "kill -9 of the worker while its insert waits",
        processes.kill_worker_before_insert,
        guards.TRIM_BEFORE_COMMIT,
    ),
    Fault(
        "worker-before-commit",
        "kill -9 of the worker between insert and commit",
        processes.kill_worker_before_commit,
        guards.TRIM_BEFORE_COMMIT,
    ),
    Fault(
        "worker-before-trim",
        "kill -9 of the worker between commit and trim",
        processes.kill_worker_before_trim,
        guards.NO_OFFSET_CHECK,
    ),
    Fault(
        "closer-in-close",
        "kill -9 of the closer during the close",
        processes.kill_closer,
        guards.NO_RESULTS_SWEEP,
        during_close=True,
    ),
    Fault(
        "helper-in-weights",
        "kill -9 of the process that recomputes weights",
        processes.kill_helper,
        guards.WEIGHTS_ACKED_EARLY,
        during_close=True,
    ),
    Fault(
        "archive-killed",
        "kill -9 of the archive command at each step, then its file restored",
        archive.kill_archive,
        guards.DELETE_UNREAD,
        during_close=True,
    ),
    Fault(
        "beat-killed",
        "kill -9 of beat, down when the session ends",
        processes.kill_beat,
        guards.NO_CATCH_UP,
        ends_on_time=True,
    ),
    Fault(
        "two-beats",
        "two beats running when the session ends",
        processes.two_beats,
        guards.CLOSE_UNCHECKED,
        ends_on_time=True,
    ),
    Fault(
        "web-killed",
        "kill -9 of web processes during bids",
        processes.kill_web,
        guards.LOG_IN_MEMORY,
    ),
    Fault(
        "postgres-stopped",
        "immediate shutdown of PostgreSQL for 10 s",
        postgres.stop,
        guards.BIDS_ASK_POSTGRES,
        max_recovery_seconds=10.0,
    ),
    Fault(
        "postgres-cut",
        "PostgreSQL connections terminated",
        postgres.cut,
        guards.TRIM_BEFORE_COMMIT,
        max_recovery_seconds=10.0,
    ),
    Fault(
        "tables-locked",
        "all tables locked for 10 s",
        postgres.lock_tables,
        guards.BIDS_ASK_POSTGRES,
        max_recovery_seconds=10.0,
    ),
    Fault(
        "disk-full",
        "PostgreSQL's disk full until space is freed",
        postgres.fill_disk,
        guards.TRIM_BEFORE_COMMIT,
        disk_mib=postgres.DISK_MIB,
    ),
    Fault(
        "redis-killed",
        "kill -9 of Redis, restarted from its file",
        redis.kill,
        guards.NO_APPENDONLY,
        stops_bids=True,
    ),
    Fault(
        "redis-flushed",
        "FLUSHALL during the session",
        redis.flush,
        guards.NO_LOSS_REPORT,
        stops_bids=True,
        loses_undrained_bids=True,
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
        redis.corrupt_log,
        guards.BAD_ENTRY_RAISES,
    ),
    Fault(
        "queues-deleted",
        "broker queues deleted while a drain waits in one",
        broker.delete_queues,
        guards.SINGLE_DRAIN,
    ),
    Fault(
        "tasks-twice",
        "every task delivered a second time, late",
        broker.deliver_twice,
        guards.NO_LOCK,
    ),
    Fault(
        "all-at-once",
        "six drains and six closes of one session at once",
        broker.all_at_once,
        guards.NO_LOCK,
        during_close=True,
    ),
    Fault(
        "offers",
        "10,000 offers expire at once, kill -9 of the processes that replace them",
        offers.expire,
        guards.OFFERS_COUNTED,
    ),
    Fault(
        "clock-ahead",
        "the web host's clock an hour ahead",
        processes.bid_under_shifted_clock,
        guards.WEB_CLOCK,
        settings_by_process={"web": processes.shifted_clock("+1h")},
    ),
    Fault(
        "clock-behind",
        "the web host's clock an hour behind",
        processes.bid_under_shifted_clock,
        guards.WEB_CLOCK,
        settings_by_process={"web": processes.shifted_clock("-1h")},
    ),
    Fault(
        "hostile",
        "attacks from 32 connections that ask for what is expensive",
        hostile.attack,
        guards.COST_UNCOUNTED,
    ),
    Fault(
        "sigterm",
        "SIGTERM to all processes during bids",
        processes.stop_all,
        guards.LOG_IN_MEMORY,
        stops_bids=True,
    ),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
