"""RabbitMQ and PgBouncer as Debian packages them, for tests that stand on both.

    python -m dev.engines pytest       runs a command with both in its settings

Each runs on a folder and ports of its own, beside any that the system runs.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import which

import psycopg2
from kombu.connection import Connection

from dev.children import LOOPBACK, free_port, spawn, stop
from dev.embedded import embedded_postgres
from dev.embedded.programs import UNPRIVILEGED_ACCOUNT
from dev.embedded.server import wait_until
from dev.errors import DevError

# Erlang takes its time on a busy machine.
START_TIMEOUT_SECONDS = 120.0
STOP_TIMEOUT_SECONDS = 30.0
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
PGBOUNCER = "/usr/sbin/pgbouncer"

PGBOUNCER_CONFIG = """\
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 40
tcp_keepidle = 10
tcp_keepintvl = 5
tcp_keepcnt = 3
tcp_user_timeout = 25000
"""


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """Run RabbitMQ on `folder`; the context's value is its URL for Celery."""
    if not RABBITMQ.exists():
        raise DevError("RabbitMQ is not installed. On Debian: apt-get install rabbitmq-server")
    folder.mkdir(parents=True)
    port = free_port()
    url = f"amqp://guest:guest@{LOOPBACK}:{port}//"
    environ = _rabbitmq_environ(folder, port)
    try:
        with _running([str(RABBITMQ)], folder, environ):
            if not wait_until(lambda: _takes_jobs(url), START_TIMEOUT_SECONDS):
                raise DevError(f"RabbitMQ did not start. Its log is {folder / 'log'}.")
            yield url
    finally:
        # Erlang's port mapper outlives the node that started it.
        subprocess.run(["epmd", "-kill"], check=False, env=environ, stdout=subprocess.DEVNULL)  # noqa: S607


@contextmanager
def pgbouncer(folder: Path, postgres: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run PgBouncer before PostgreSQL; the context's value is the settings that reach it."""
    if not which(PGBOUNCER):
        raise DevError("PgBouncer is not installed. On Debian: apt-get install pgbouncer")
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "pgbouncer.ini"
    config.write_text(
        PGBOUNCER_CONFIG.format(
            host=postgres["POSTGRES_HOST"],
            port=postgres["POSTGRES_PORT"],
            user=postgres["POSTGRES_USER"],
            listen_port=port,
        )
    )
    settings = {**postgres, "POSTGRES_HOST": LOOPBACK, "POSTGRES_PORT": str(port)}
    # It reads its file as root, and gives root up at once: it refuses to run so.
    account = ("--user", UNPRIVILEGED_ACCOUNT) if os.geteuid() == 0 else ()
    with _running([PGBOUNCER, *account, str(config)], folder, os.environ):
        if not wait_until(lambda: _passes_on(settings), START_TIMEOUT_SECONDS):
            raise DevError(f"PgBouncer did not start. Its log is {folder / 'log'}.")
        yield settings


@contextmanager
def _running(command: list[str], folder: Path, environ: Mapping[str, str]) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = spawn(command, environ, log)
    try:
        yield
    finally:
        stop(process, STOP_TIMEOUT_SECONDS)


def _rabbitmq_environ(folder: Path, port: int) -> dict[str, str]:
    """Nothing shared with a RabbitMQ that the system runs: not even Erlang's port mapper."""
    return {
        **os.environ,
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"flashbid-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_EPMD_ADDRESS": LOOPBACK,
    }


def _takes_jobs(url: str) -> bool:
    try:
        with Connection(url, connect_timeout=1) as connection:  # type: ignore[no-untyped-call]
            connection.connect()
    except OSError:
        return False
    return True


def _passes_on(settings: Mapping[str, str]) -> bool:
    try:
        psycopg2.connect(
            host=settings["POSTGRES_HOST"],
            port=settings["POSTGRES_PORT"],
            user=settings["POSTGRES_USER"],
            dbname="postgres",
        ).close()
    except psycopg2.OperationalError:
        return False
    return True


def main(command: list[str]) -> int:
    """Run a command of this virtual environment with both engines in its settings."""
    with tempfile.TemporaryDirectory(prefix="flashbid-engines-") as name, ExitStack() as started:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = started.enter_context(embedded_postgres(folder / "postgres"))
        settings = started.enter_context(pgbouncer(folder / "pgbouncer", postgres))
        broker = started.enter_context(rabbitmq(folder / "rabbitmq"))
        environ = {**os.environ, **settings, "TEST_BROKER_URL": broker}
        return subprocess.call([sys.executable, "-m", *command], env=environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
