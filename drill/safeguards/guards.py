"""The guards that control rounds disable: without them, the faults must do damage.

The patches are in drill/safeguards/controls under these names; the drill's child processes
import them from their PYTHONPATH. The product contains no code for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """How to disable one guard: the patch of this name, settings of all processes, Redis
    configuration, and SQL that drops constraints which would prevent the damage.
    """

    name: str
    description: str
    settings: Mapping[str, str] = field(default_factory=dict)
    redis: Mapping[str, str] = field(default_factory=dict)
    sql: Sequence[str] = ()


TRIM_BEFORE_COMMIT = Control(
    "trim-before-commit", "the log is trimmed only after PostgreSQL's commit"
)
NO_OFFSET_CHECK = Control("no-offset-check", "entries already in PostgreSQL are skipped")
NO_LOCK = Control(
    "no-lock",
    "one drain per session at a time; a bid's sequence is its key",
    sql=("ALTER TABLE bids DROP CONSTRAINT pk_bids CASCADE",),
)
NO_RESULTS_SWEEP = Control("no-results-sweep", "each tick retries unfinished closes")
NO_CATCH_UP = Control("no-catch-up", "a tick finds sessions that ended while no tick ran")
CLOSE_UNCHECKED = Control(
    "close-unchecked",
    "one close at a time, which checks for existing results",
    sql=(
        "ALTER TABLE rankings DROP CONSTRAINT pk_rankings CASCADE",
        "ALTER TABLE rankings DROP CONSTRAINT uq_rankings_session_id_rank",
        "ALTER TABLE announcements DROP CONSTRAINT pk_announcements CASCADE",
    ),
)
WEIGHTS_ACKED_EARLY = Control(
    "weights-acked-early", "a job is acknowledged after it ran and requeued when its process dies"
)
DELETE_UNREAD = Control(
    "delete-unread", "no bid is deleted before its file is read back and recorded"
)
LOG_IN_MEMORY = Control(
    "log-in-memory",
    "a bid is in the log before it is answered; no process buffers bids",
    # Two processes would append bids out of order and fail without a fault.
    settings={"WEB_PROCESSES": "1"},
)
BIDS_ASK_POSTGRES = Control("bids-ask-postgres", "a bid does not need PostgreSQL")
OFFERS_COUNTED = Control(
    "offers-counted",
    "each offer holds a place, and a place has one offer",
    sql=(
        "DROP INDEX uq_offers_place_taken",
        "ALTER TABLE offers DROP CONSTRAINT uq_offers_session_id_rank",
        "ALTER TABLE offers DROP CONSTRAINT uq_offers_session_id_user_id",
    ),
)
NO_APPENDONLY = Control(
    "no-appendonly", "Redis writes each bid to its file", redis={"appendonly": "no"}
)
NO_LOSS_REPORT = Control(
    "no-loss-report", "a load records the bids that Redis lost and skips their sequences"
)
EVICTING = Control(
    "evicting",
    "Redis rejects writes when it is out of memory and evicts nothing",
    redis={"maxmemory-policy": "allkeys-random"},
)
YES_ON_ERROR = Control("yes-on-error", "only a bid that Redis accepted is confirmed")
BAD_ENTRY_RAISES = Control("bad-entry-raises", "a malformed entry is set aside")
SINGLE_DRAIN = Control("single-drain", "the sweep, and the next bid after five seconds")
COST_UNCOUNTED = Control(
    "cost-uncounted",
    "few password hashes at once, limits on refusals and uncached pages",
    settings={"REFUSED_BIDS_PER_MINUTE": "0", "UNCACHED_PAGES_PER_MINUTE": "0"},
)
WEB_CLOCK = Control("web-clock", "Redis's clock times every bid")
