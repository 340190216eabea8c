"""Another checkout's processes, as its own Procfile starts them, on servers of their own.

Nothing of that commit is known here but its HTTP, its Procfile, its settings and its schema.
Members and the session are made by this commit, in PostgreSQL; its Redis is then emptied, so
that the other commit loads from PostgreSQL whatever it wants to have there.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from dev.bench.servers.stack import (
    WORKER_PROCESSES,
    Program,
    Servers,
    open_session,
    seed_tokens,
    servers,
)
from dev.children import LOOPBACK, free_port

# What serves members and writes bids down; the last is not there in every commit.
ROLES = ("web", "worker", "live")


@dataclass(frozen=True, slots=True)
class Baseline:
    """The other checkout, up, with a session that takes bids."""

    servers: Servers
    session_id: UUID
    tokens_path: Path
    port: int


@contextmanager
def running(checkout: Path, folder: Path, members: int, watchers: int) -> Iterator[Baseline]:
    """Start it all."""
    folder.mkdir()
    with servers(folder) as own:
        tokens_path, session_id = seed_tokens(own, members), open_session(own.services)
        own.services.redis.flushdb()
        port = free_port()
        environ = _environ(own, checkout) | {
            "PORT": str(port),
            "LIVE_MAX_WATCHERS": str(watchers),
        }
        with _programs(checkout, folder, environ) as programs:
            programs["web"].await_ready(f"http://{LOOPBACK}:{port}/health")
            programs["worker"].await_ready()
            yield Baseline(own, session_id, tokens_path, port)


def command_lines(checkout: Path) -> dict[str, str]:
    """The lines of a Procfile, by role."""
    lines = (checkout / "Procfile").read_text().splitlines()
    parts = [line.partition(":") for line in lines if ":" in line and not line.startswith("#")]
    return {role.strip(): command.strip() for role, _, command in parts}


@contextmanager
def _programs(
    checkout: Path, folder: Path, environ: Mapping[str, str]
) -> Iterator[dict[str, Program]]:
    commands = command_lines(checkout)
    with ExitStack() as started:
        yield {
            role: started.enter_context(
                Program(
                    f"baseline-{role}",
                    ("sh", "-c", f"exec {commands[role]}"),
                    environ,
                    folder,
                    home=checkout,
                ).running()
            )
            for role in ROLES
            if role in commands
        }


def _environ(own: Servers, checkout: Path) -> dict[str, str]:
    programs = f"{checkout / '.venv' / 'bin'}:{own.environ.get('PATH', '')}"
    return {
        **own.environ,
        "PATH": programs,
        "METRICS_FOLDER": str(own.folder / "metrics"),
        "WORKER_CONCURRENCY": str(WORKER_PROCESSES),
    }
