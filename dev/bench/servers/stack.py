"""The project's processes and servers, as the bench runs them.

Uses the embedded servers with durable settings (appendonly yes, appendfsync always) in a
temporary folder. Everything is stopped and deleted at the end.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import UUID

import psutil

from core.bootstrap import Services, bootstrap
from core.config import PROJECT_ROOT, Settings, SettingsReader, load_settings, read_settings
from core.postgres.migrating import migrate
from core.sessions.sessions import Terms
from dev.children import LOOPBACK, free_port, spawn, stop
from dev.embedded import PostgresServer, RedisServer
from dev.embedded.server import wait_until
from dev.errors import DevError

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 20.0
WEB_PROCESSES = 2
GUNICORN_CONF = "web/gunicorn_conf.py"
APPLICATION = "web.asgi:create_asgi_app()"
ECHO_CONF = "dev/bench/servers/echo_conf.py"
ASGI_ECHO_CONF = "dev/bench/servers/asgi_echo_conf.py"
UNWATCHED_CONF = "dev/bench/servers/unwatched_conf.py"
SINGLES_CONF = "dev/bench/servers/singles_conf.py"
WEB_THREADS = 16
WORKER_PROCESSES = 2
SHOWN_LINES = 20
# Variables passed on from the developer's environment; others could change a figure.
INHERITED_VARIABLES = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
# A rate limit that is on but refuses no bid of a generator.
BID_RATE = {"BID_RATE_PER_SECOND": "1000", "BID_RATE_BURST": "1000"}


class Program:
    """A process with its output in a log file. Only its leader is signalled to stop."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        *,
        home: Path = PROJECT_ROOT,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._popen = spawn(command, environ, log, folder=home)
        self.process = psutil.Process(self._popen.pid)

    @contextmanager
    def running(self) -> Iterator["Program"]:
        try:
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        stop(self._popen, STOP_TIMEOUT_SECONDS)

    def await_ready(self, url: str | None = None) -> None:
        """Wait until it answers at `url` or, without one, has child processes."""

        def is_ready() -> bool:
            if self._popen.poll() is not None:
                raise DevError(f"{self.name} exited during its start:\n{self._last_lines()}")
            return _answers(url) if url else bool(self.process.children())

        if not wait_until(is_ready, START_TIMEOUT_SECONDS):
            raise DevError(f"{self.name} does not answer:\n{self._last_lines()}")

    def count_lines_with(self, word: str) -> int:
        return sum(word in line for line in self.log.read_text(errors="replace").splitlines())

    def _last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-SHOWN_LINES:])


@dataclass(frozen=True, slots=True)
class BenchServers:
    """PostgreSQL and Redis, and core's services connected to them."""

    folder: Path
    environ: Mapping[str, str]
    settings: Settings
    services: Services
    postgres: PostgresServer
    redis: RedisServer


@dataclass(frozen=True, slots=True)
class HttpStack:
    """The running application, reference applications and worker."""

    web: Program
    echo: Program
    asgi_echo: Program
    worker: Program
    web_port: int
    echo_port: int
    asgi_echo_port: int


@contextmanager
def temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="flashbid-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def servers(folder: Path) -> Iterator[BenchServers]:
    """Run both servers and create the schema."""
    with ExitStack() as started:
        postgres = PostgresServer(folder / "postgres")
        redis = RedisServer(folder / "redis")
        values = started.enter_context(postgres.running())
        values |= started.enter_context(redis.running())
        values |= _own_settings(values)
        settings = load_settings(values)
        services = bootstrap(settings)
        started.callback(close, services)
        migrate(services.engine)
        yield BenchServers(folder, environ_of(values), settings, services, postgres, redis)


def environ_of(values: Mapping[str, str]) -> dict[str, str]:
    """The processes' environment. It sets every setting, if only to the empty default, so
    that neither the developer's environment nor `.env` does.
    """
    reader = SettingsReader(values)
    read_settings(reader)
    passed_on = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    return {**passed_on, **dict.fromkeys(reader.names, ""), **values, "PYTHONUNBUFFERED": "1"}


def close(services: Services) -> None:
    """Close this process's connections and threads."""
    services.runtime.close()
    services.redis.close()
    services.engine.dispose()


@contextmanager
def web_server(
    servers: BenchServers,
    name: str,
    application: str,
    *,
    config: str = GUNICORN_CONF,
    **settings: str,
) -> Iterator[tuple[Program, int]]:
    """Start gunicorn; yields it and its port. It may not answer yet."""
    port = free_port()
    environ = {
        **servers.environ,
        "PORT": str(port),
        "METRICS_FOLDER": str(servers.folder / "metrics"),
        **settings,
    }
    command = python("gunicorn", "--config", config, application)
    with Program(name, command, environ, servers.folder).running() as program:
        yield program, port


@contextmanager
def web_variant(
    servers: BenchServers, name: str, *, config: str = GUNICORN_CONF, **settings: str
) -> Iterator[tuple[Program, int]]:
    """Run the application again with another configuration; yields it and its port."""
    with web_server(servers, name, APPLICATION, config=config, **settings) as (program, port):
        program.await_ready(f"http://{LOOPBACK}:{port}/health")
        yield program, port


@contextmanager
def worker(servers: BenchServers, name: str) -> Iterator[Program]:
    """Start a worker on all queues. It may not be ready yet."""
    command = python(*_worker_arguments(name))
    with Program(name, command, servers.environ, servers.folder).running() as program:
        yield program


def python(*arguments: str) -> tuple[str, ...]:
    """The command line of a Python module."""
    return (sys.executable, "-m", *arguments)


@contextmanager
def http_stack(servers: BenchServers) -> Iterator[HttpStack]:
    """Run the application, the reference applications and one worker on all queues."""
    applications = {
        "web": (APPLICATION, GUNICORN_CONF),
        "echo": ("dev.bench.servers.echo:app", ECHO_CONF),
        "asgi-echo": ("dev.bench.servers.asgi_echo:app", ASGI_ECHO_CONF),
    }
    with ExitStack() as started:
        found = [
            started.enter_context(web_server(servers, name, application, config=config))
            for name, (application, config) in applications.items()
        ]
        drains = started.enter_context(worker(servers, "worker"))
        for program, port in found:
            program.await_ready(f"http://{LOOPBACK}:{port}/health")
        drains.await_ready()
        (web, web_port), (echo, echo_port), (asgi_echo, asgi_port) = found
        yield HttpStack(web, echo, asgi_echo, drains, web_port, echo_port, asgi_port)


def open_session(services: Services, **changes: Any) -> UUID:
    """Create an open session that outlasts any run; `changes`: terms that differ."""
    usual = Terms(
        upset_price=Decimal("1.00"),
        inventory=100,
        alpha=0.5,
        beta=1000.0,
        gamma=2.0,
        duration=timedelta(hours=12),
    )
    terms = replace(usual, **changes)
    return services.sessions.create_with_product("Bench", None, terms).session_id


def seed_members(servers: BenchServers, count: int) -> Path:
    """Create members with real tokens; returns the token file, one JSON object per line."""
    path = servers.folder / "members.jsonl"
    command = ["flask", "--app", "web", "seed-members", str(count), "--tokens", str(path)]
    made = subprocess.run(
        [sys.executable, "-m", *command],
        check=False,
        cwd=PROJECT_ROOT,
        env=servers.environ,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if made.returncode != 0:
        raise DevError(f"Members could not be created:\n{made.stdout}")
    return path


def seed_tokens(servers: BenchServers, count: int) -> Path:
    """Create members; returns a file of bare tokens, one per line."""
    lines = seed_members(servers, count).read_text().splitlines()
    path = servers.folder / "tokens"
    path.write_text("".join(f"{json.loads(line)['token']}\n" for line in lines))
    return path


def _own_settings(values: Mapping[str, str]) -> dict[str, str]:
    """The bench's settings; all others have their defaults."""
    broker = f"redis://{values['REDIS_HOST']}:{values['REDIS_PORT']}/1"
    return {
        "HOST": LOOPBACK,
        "WEB_PROCESSES": str(WEB_PROCESSES),
        "WEB_THREADS": str(WEB_THREADS),
        "CELERY_BROKER_URL": broker,
        "JWT_SECRET": secrets.token_urlsafe(48),
        # Generators use fewer members than a sale; each bids faster than people do.
        "BID_RATE_PER_SECOND": "0",
    }


def _worker_arguments(name: str) -> tuple[str, ...]:
    return (
        *("celery", "--quiet", "-A", "worker", "worker"),
        *("--queues", "bids,sessions,default", "--hostname", f"{name}@%h"),
        *("--concurrency", str(WORKER_PROCESSES)),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - our own address
            return bool(answer.status < 500)  # noqa: PLR2004 - HTTP's own number
    except HTTPException:
        return False
    except OSError as error:
        # An HTTP error counts as an answer: the reference applications have no page to GET.
        return hasattr(error, "code")
