"""Another checkout's processes, started from its Procfile, on separate servers.

Only that commit's HTTP API, Procfile, settings and schema are relied on. This commit creates
the members and the session in PostgreSQL, then empties Redis, so that the other commit loads
its own keys from PostgreSQL.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from dev.bench.servers.stack import (
    WORKER_PROCESSES,
    BenchServers,
    Program,
    open_session,
    seed_tokens,
    servers,
)
from dev.children import LOOPBACK, free_port

# The processes that serve members and persist bids; older commits have a `live` process.
ROLES = ("web", "worker", "live")


@dataclass(frozen=True, slots=True)
class Baseline:
    """The running other checkout, with an open session."""

    servers: BenchServers
    session_id: UUID
    tokens_path: Path
    port: int


@contextmanager
def running(checkout: Path, folder: Path, members: int, watchers: int) -> Iterator[Baseline]:
    """Run the other checkout."""
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
    """The commands of a Procfile, by role."""
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


def _environ(own: BenchServers, checkout: Path) -> dict[str, str]:
    programs = f"{checkout / '.venv' / 'bin'}:{own.environ.get('PATH', '')}"
    return {
        **own.environ,
        "PATH": programs,
        "METRICS_FOLDER": str(own.folder / "metrics"),
        "WORKER_CONCURRENCY": str(WORKER_PROCESSES),
    }
