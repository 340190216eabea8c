"""One round's stage: a session on the site, and members about to bid in it."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psycopg2
import redis

from dev.bench.servers.stack import Servers
from dev.embedded.server import wait_until
from dev.errors import DevError
from dev.stack import Stack
from drill.environment.bidders import Crowd
from drill.environment.environment import Site
from loadtest.errors import LoadTestError
from loadtest.sale.api import Api, Unreachable

INVENTORY = 20
LONG_MINUTES = 60.0
WAIT_SECONDS = 30.0
RESULTS_PATIENCE_SECONDS = 45.0
SUPERVISION_SECONDS = 1.0
BROKER_DB = 1
# How the drill's own connections to PostgreSQL are told from the product's.
CONNECTION_NAME = "drill"


@dataclass(slots=True)
class Scene:
    """What a fault can lay hands on. `ends_at` is in seconds of `time.monotonic()`."""

    servers: Servers
    stack: Stack
    api: Api
    crowd: Crowd
    random: Random
    ends_at: float
    # Sequences that the fault itself took out of the log: no member was promised them.
    spoilt: set[int] = field(default_factory=set)

    @property
    def session_id(self) -> str:
        return self.crowd.session_id

    def redis(self, db: int = 0) -> "redis.Redis":
        """A connection of the drill's own."""
        settings = self.servers.settings
        return redis.Redis(settings.redis_host, settings.redis_port, db, decode_responses=True)

    @contextmanager
    def postgres(self) -> Iterator[Any]:
        """A cursor of the drill's own; every statement is its own transaction."""
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
        """The last sequence that Redis gave out."""
        value: Any = self.redis().hget(f"session:params:{{{self.session_id}}}", "sequence")
        return int(value or 0)

    def persisted(self) -> int:
        """The last sequence that PostgreSQL has."""
        with self.postgres() as cursor:
            cursor.execute(
                "SELECT persisted_sequence FROM bid_log_offsets WHERE session_id = %s",
                [self.session_id],
            )
            return int(cursor.fetchone()[0])

    def close(self) -> None:
        """What an admin does who ends the session now."""
        self.api.call("PUT", f"/api/admin/sessions/{self.session_id}/close")

    def await_results(self) -> dict[str, Any]:
        """The final results. Raises DevError when they do not come.

        The drill is the supervisor, too: Celery may end when its broker dies.
        """
        give_up_at = time.monotonic() + RESULTS_PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            self.stack.revive()
            with suppress(LoadTestError, Unreachable):
                return self.api.wait_for_results(self.session_id, SUPERVISION_SECONDS)
        raise DevError(
            f"The results did not come in {RESULTS_PATIENCE_SECONDS:.0f} s.\n{self.stack.said()}"
        )

    def await_end(self) -> None:
        """Until the session's time is over."""
        time.sleep(max(0.0, self.ends_at - time.monotonic()))

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Until the condition is true. Raises DevError when it does not come."""
        if not wait_until(lambda: bool(condition()), WAIT_SECONDS):
            raise DevError(f"In {WAIT_SECONDS:.0f} s it did not come: {what}.\n{self.stack.said()}")

    def rest(self, low_seconds: float, high_seconds: float) -> None:
        """Let some time of chance pass."""
        time.sleep(self.random.uniform(low_seconds, high_seconds))


def open_scene(site: Site, seed: int, lasts_seconds: float | None) -> Scene:
    """Open a session; without `lasts_seconds` it ends when somebody closes it."""
    minutes = LONG_MINUTES if lasts_seconds is None else lasts_seconds / 60
    terms = {"upset_price": 100, "inventory": INVENTORY, "duration_minutes": minutes}
    session = site.api.call("POST", "/api/admin/sessions/combined", {"name": "Drill", **terms})
    ends_at = time.monotonic() + minutes * 60
    crowd = Crowd(site.stack.port, session["session_id"], site.members, site.servers.folder, seed)
    return Scene(site.servers, site.stack, site.api, crowd, Random(seed), ends_at)
