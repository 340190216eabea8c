"""One round's stage: fresh servers, the Procfile's processes, members and an open session."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psycopg2
import redis
from sqlalchemy import text

from dev.bench.stack import Servers, seed_members, servers
from dev.embedded.server import wait_until
from dev.errors import DevError
from dev.stack import Stack
from drill.bidders import Crowd
from loadtest import members
from loadtest.api import Api

INVENTORY = 20
MEMBERS = 240
WAIT_SECONDS = 30.0
CONTROLS_PATH = Path(__file__).parent / "controls"
BROKER_DB = 1


@dataclass(slots=True)
class Scene:
    """What a fault can lay hands on."""

    servers: Servers
    stack: Stack
    api: Api
    crowd: Crowd
    random: Random
    # Sequences that the fault itself took out of the log: no member was promised them.
    spoilt: set[int]

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

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Until the condition is true. Raises DevError when it does not come."""
        if not wait_until(lambda: bool(condition()), WAIT_SECONDS):
            raise DevError(f"In {WAIT_SECONDS:.0f} s it did not come: {what}.\n{self.stack.said()}")

    def rest(self, low_seconds: float, high_seconds: float) -> None:
        """Let some time of chance pass."""
        time.sleep(self.random.uniform(low_seconds, high_seconds))


@contextmanager
def scene(
    seed: int,
    control: str | None,
    changes: Mapping[str, Mapping[str, str]],
    disk_mib: int | None,
) -> Iterator[Scene]:
    """All up, the session open, nobody bidding yet. Nothing of it is left behind.

    `changes` are settings by the process that shall have them. With `disk_mib`
    PostgreSQL's folder is a file system of that size, which takes root to mount.
    """
    with tempfile.TemporaryDirectory(prefix="flashbid-drill-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with _disk(folder / "postgres", disk_mib), servers(folder) as running:
            stack = Stack(folder, {**running.environ, **_control(control)})
            for process, settings in (changes or {}).items():
                stack[process].environ = {**stack[process].environ, **settings}
            try:
                stack.start()
                _take_guard_away(running, control)
                yield _open(running, stack, folder, seed)
            finally:
                stack.kill()


@contextmanager
def _disk(folder: Path, size_mib: int | None) -> Iterator[None]:
    if size_mib is None:
        yield
        return
    folder.mkdir(mode=0o700)
    options = f"size={size_mib}m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "flashbid-drill", folder], check=True)  # noqa: S607
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)  # noqa: S607


def _take_guard_away(running: Servers, control: str | None) -> None:
    """Guards that are a server's, not the product's."""
    if control == "no-appendonly":
        redis.Redis(running.settings.redis_host, running.settings.redis_port).config_set(
            "appendonly", "no"
        )
    if control == "no-lock":
        with running.services.engine.begin() as connection:
            connection.execute(text("ALTER TABLE bids DROP CONSTRAINT pk_bids CASCADE"))


def _control(control: str | None) -> dict[str, str]:
    """The settings that take a guard away in the child processes, and nowhere else."""
    if control is None:
        return {}
    path = os.pathsep.join(filter(None, [str(CONTROLS_PATH), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "DRILL_CONTROL": control}


def _open(running: Servers, stack: Stack, folder: Path, seed: int) -> Scene:
    host = f"http://127.0.0.1:{stack.port}"
    # The first account becomes the admin.
    admin = Api(host, members.admin_token(host, name="drill", password="drill-password"))  # noqa: S106 - gone in a minute
    tokens = members.read_tokens(seed_members(running, MEMBERS), MEMBERS)
    session = admin.call(
        "POST",
        "/api/admin/sessions/combined",
        {"name": "Drill", "upset_price": 100, "inventory": INVENTORY, "duration_minutes": 60},
    )
    crowd = Crowd(stack.port, session["session_id"], tokens, folder, seed)
    return Scene(running, stack, admin, crowd, Random(seed), set())
