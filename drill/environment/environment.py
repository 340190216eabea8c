"""The environment that rounds share: servers, Procfile processes, an admin, members."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from sqlalchemy import text

from dev.bench.servers.stack import BenchServers, seed_members, servers
from dev.embedded.server import wait_until
from dev.errors import DevError
from dev.stack import Stack
from drill.safeguards.guards import Control
from loadtest.sale import members
from loadtest.sale.api import Api
from loadtest.sale.members import MemberToken

MEMBERS = 240
HEALTHY_TIMEOUT_SECONDS = 60.0
CONTROLS_PATH = Path(__file__).parents[1] / "safeguards" / "controls"


@dataclass(frozen=True, slots=True)
class DrillEnvironment:
    """Everything is running; nobody bids yet. `api` uses the admin's token."""

    servers: BenchServers
    stack: Stack
    api: Api
    members: Sequence[MemberToken]


@contextmanager
def drill_environment(
    settings_by_process: Mapping[str, Mapping[str, str]],
    disk_mib: int | None,
    control: Control | None,
) -> Iterator[DrillEnvironment]:
    """A fresh environment, removed completely at the end.

    `settings_by_process` adds settings to single processes. With `disk_mib`, PostgreSQL's
    folder is a file system of that size; mounting it needs root.
    """
    with tempfile.TemporaryDirectory(prefix="flashbid-drill-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with _disk(folder / "postgres", disk_mib), servers(folder) as running:
            stack = Stack(folder, {**running.environ, **_without_guard(control)})
            for process, settings in settings_by_process.items():
                stack[process].environ = {**stack[process].environ, **settings}
            try:
                stack.start()
                if control:
                    _apply_to_servers(running, control)
                yield _populated(running, stack)
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


def _without_guard(control: Control | None) -> dict[str, str]:
    """Settings that disable a guard, in the child processes only."""
    if control is None:
        return {}
    path = os.pathsep.join(filter(None, [str(CONTROLS_PATH), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "DRILL_CONTROL": control.name, **control.settings}


def _apply_to_servers(running: BenchServers, control: Control) -> None:
    """Disable guards in the servers, and constraints that would reject the damage."""
    client = redis.Redis(running.settings.redis_host, running.settings.redis_port)
    for name, value in control.redis.items():
        client.config_set(name, value)
    with running.services.engine.begin() as connection:
        for statement in control.sql:
            connection.execute(text(statement))


def _populated(running: BenchServers, stack: Stack) -> DrillEnvironment:
    host = f"http://127.0.0.1:{stack.port}"
    if not wait_until(Api(host).is_healthy, HEALTHY_TIMEOUT_SECONDS):
        raise DevError(f"The web processes did not become healthy.\n{stack.log_tails()}")
    # The first account becomes the admin.
    admin = Api(host, members.admin_token(host, name="drill", password="drill-password"))  # noqa: S106 - gone in a minute
    tokens = members.read_tokens(seed_members(running, MEMBERS), MEMBERS)
    return DrillEnvironment(running, stack, admin, tokens)
