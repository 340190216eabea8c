"""The context of one round: a session, its bidders, and access to all servers."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psycopg2
import redis

from dev.bench.servers.stack import BenchServers
from dev.embedded.server import wait_until
from dev.errors import DevError
from dev.stack import Stack
from drill.environment.bidders import Crowd
from drill.environment.environment import DrillEnvironment
from loadtest.errors import LoadTestError
from loadtest.sale.api import Api, Unreachable

INVENTORY = 20
LONG_MINUTES = 60.0
WAIT_SECONDS = 30.0
RESULTS_TIMEOUT_SECONDS = 45.0
RESTART_INTERVAL_SECONDS = 1.0
BROKER_DB = 1
# Distinguishes the drill's own PostgreSQL connections from the product's.
CONNECTION_NAME = "drill"


@dataclass(slots=True)
class RoundContext:
    """Everything a fault can act on. `ends_at` is in seconds of `time.monotonic()`."""

    servers: BenchServers
    stack: Stack
    api: Api
    crowd: Crowd
    random: Random
    ends_at: float
    # Sequences that the fault itself used up: no member's bid was confirmed with them.
    corrupted: set[int] = field(default_factory=set)
    # Items that the fault saw offered twice.
    oversold: int = 0
    # What the fault measured, in lines.
    notes: list[str] = field(default_factory=list)

    @property
    def session_id(self) -> str:
        return self.crowd.session_id

    def redis(self, db: int = 0) -> "redis.Redis":
        """A separate connection for the drill."""
        settings = self.servers.settings
        return redis.Redis(settings.redis_host, settings.redis_port, db, decode_responses=True)

    @contextmanager
    def postgres(self) -> Iterator[Any]:
        """A separate cursor for the drill, in autocommit mode."""
        settings = self.servers.settings
        connection = psycopg2.connect(
            host=settings.postgres_host,
            port=settings.postgres_port,
            user=settings.postgres_user,
            dbname=settings.postgres_db,
            application_name=CONNECTION_NAME,
        )
        with closing(connection):
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def sequence(self) -> int:
        """The last sequence that Redis assigned."""
        value: Any = self.redis().hget(f"session:params:{{{self.session_id}}}", "sequence")
        return int(value or 0)

    def persisted(self) -> int:
        """The last sequence persisted in PostgreSQL."""
        with self.postgres() as cursor:
            cursor.execute(
                "SELECT persisted_sequence FROM bid_log_offsets WHERE session_id = %s",
                [self.session_id],
            )
            return int(cursor.fetchone()[0])

    def close(self) -> None:
        """End the session now, as an admin does."""
        self.api.call("PUT", f"/api/admin/sessions/{self.session_id}/close")

    def await_results(self) -> dict[str, Any]:
        """The final results. Raises DevError when they do not arrive in time.

        Restarts ended processes like a supervisor: Celery may exit when its broker dies.
        """
        deadline = time.monotonic() + RESULTS_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            self.stack.restart_ended()
            with suppress(LoadTestError, Unreachable):
                return self.api.wait_for_results(self.session_id, RESTART_INTERVAL_SECONDS)
        raise DevError(
            f"No results within {RESULTS_TIMEOUT_SECONDS:.0f} s.\n{self.stack.log_tails()}"
        )

    def await_end(self) -> None:
        """Wait until the session's end time."""
        time.sleep(max(0.0, self.ends_at - time.monotonic()))

    def wait_for(self, condition: Callable[[], object], description: str) -> None:
        """Wait until the condition is true. Raises DevError after WAIT_SECONDS."""
        if not wait_until(lambda: bool(condition()), WAIT_SECONDS):
            raise DevError(
                f"Waited {WAIT_SECONDS:.0f} s in vain for {description}.\n{self.stack.log_tails()}"
            )

    def sleep_between(self, low_seconds: float, high_seconds: float) -> None:
        """Sleep for a random time."""
        time.sleep(self.random.uniform(low_seconds, high_seconds))


def start_round(
    environment: DrillEnvironment, seed: int, lasts_seconds: float | None
) -> RoundContext:
    """Open a session; without `lasts_seconds` it runs until it is closed."""
    minutes = LONG_MINUTES if lasts_seconds is None else lasts_seconds / 60
    # Every other round has the prices that stand in Redis, too.
    may_lower = bool(seed % 2)
    terms = {
        "upset_price": 100,
        "inventory": INVENTORY,
        "duration_minutes": minutes,
        "allow_lower_bids": may_lower,
    }
    session = environment.api.call(
        "POST", "/api/admin/sessions/combined", {"name": "Drill", **terms}
    )
    ends_at = time.monotonic() + minutes * 60
    crowd = Crowd(
        environment.stack.port,
        session["session_id"],
        environment.members,
        environment.servers.folder,
        seed,
        may_lower=may_lower,
    )
    return RoundContext(
        environment.servers, environment.stack, environment.api, crowd, Random(seed), ends_at
    )
