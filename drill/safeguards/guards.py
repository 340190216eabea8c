"""What a control round takes away: with it off, its faults must be seen to do harm.

The patches of the product's code are in drill/safeguards/controls, by these names; the child
processes of a drill find them on their PYTHONPATH. Nothing in the product knows of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """One guard. Beside the patch of this name: settings of all processes, changes of the
    servers, and constraints dropped that would refuse the harm before it can be seen.
    """

    name: str
    words: str
    settings: Mapping[str, str] = field(default_factory=dict)
    redis: Mapping[str, str] = field(default_factory=dict)
    sql: Sequence[str] = ()


TRIM_BEFORE_COMMIT = Control(
    "trim-before-commit", "the log is trimmed only after PostgreSQL's commit"
)
NO_OFFSET_CHECK = Control("no-offset-check", "entries that PostgreSQL has are not taken for new")
NO_LOCK = Control(
    "no-lock",
    "one drain of a session at a time; a bid's sequence is its key",
    sql=("ALTER TABLE bids DROP CONSTRAINT pk_bids CASCADE",),
)
NO_RESULTS_SWEEP = Control("no-results-sweep", "each tick looks for closes that did not end")
NO_CATCH_UP = Control("no-catch-up", "a tick finds what became due while nobody ticked")
CLOSE_UNCHECKED = Control(
    "close-unchecked",
    "one close at a time, and it looks whether the results stand already",
    sql=(
        "ALTER TABLE rankings DROP CONSTRAINT pk_rankings CASCADE",
        "ALTER TABLE rankings DROP CONSTRAINT uq_rankings_session_id_rank",
        "ALTER TABLE announcements DROP CONSTRAINT pk_announcements CASCADE",
    ),
)
WEIGHTS_ACKED_EARLY = Control(
    "weights-acked-early", "a job is acknowledged after it ran, and handed back when it died"
)
LOG_IN_MEMORY = Control(
    "log-in-memory",
    "a bid is in the log before it is answered; no process keeps one to itself",
    # Two processes would hand their bids in out of order: that would fail without a fault.
    settings={"WEB_PROCESSES": "1"},
)
BIDS_ASK_POSTGRES = Control("bids-ask-postgres", "a bid does not need PostgreSQL")
NO_APPENDONLY = Control(
    "no-appendonly", "Redis writes each bid to its file", redis={"appendonly": "no"}
)
NO_LOSS_REPORT = Control("no-loss-report", "a load records what Redis lost, and skips its places")
EVICTING = Control(
    "evicting",
    "Redis refuses what it has no memory for and evicts nothing",
    redis={"maxmemory-policy": "allkeys-random"},
)
YES_ON_ERROR = Control("yes-on-error", "only a bid that Redis took is answered with yes")
BAD_ENTRY_RAISES = Control("bad-entry-raises", "a malformed entry is set aside")
SINGLE_DRAIN = Control("single-drain", "the sweep, and the next bid after five seconds")
WEB_CLOCK = Control("web-clock", "Redis's clock judges every bid")
