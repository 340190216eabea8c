"""Starts, kills and stops the Procfile's processes, and keeps their logs."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from core.config import PROJECT_ROOT
from dev.children import free_port, kill, shell, spawn
from dev.embedded.server import wait_until
from dev.errors import DevError

RELEASE = "release"
WITHOUT_CHILDREN = {"beat"}
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 30.0
SHOWN_LINES = 60


def launch(command: str, environ: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a line of the Procfile; its output is appended to the log."""
    with log.open("ab") as output:
        return spawn(shell(command), environ, output)


Launch = Callable[[str, Mapping[str, str], Path], "subprocess.Popen[bytes]"]


class ProcfileProcess:
    """A process of the Procfile, leading its own process group."""

    def __init__(
        self,
        name: str,
        command: str,
        environ: Mapping[str, str],
        log: Path,
        launch: Launch = launch,
    ) -> None:
        self.name, self.command, self.environ, self.log = name, command, environ, log
        self.launch = launch
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.popen = self.launch(self.command, self.environ, self.log)

    def another(self) -> "ProcfileProcess":
        """A second process of this name."""
        return ProcfileProcess(self.name, self.command, self.environ, self.log, self.launch)

    def is_running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def exit_code(self, timeout_seconds: float = 0.0) -> int | None:
        """The exit code; None if still running at the timeout."""
        with suppress(subprocess.TimeoutExpired):
            return self._leader.wait(timeout_seconds)
        return None

    def children(self) -> list[psutil.Process]:
        """Celery's pool processes or gunicorn's workers."""
        return psutil.Process(self._leader.pid).children()

    @property
    def _leader(self) -> "subprocess.Popen[bytes]":
        if self.popen is None:
            raise DevError(f"{self.name} was never started.")
        return self.popen

    def terminate(self) -> None:
        """Send SIGTERM to the leader only, as an operator does."""
        if self.is_running():
            self._leader.terminate()

    def kill(self) -> None:
        """`kill -9` the leader and all its children."""
        if self.popen is not None:
            kill(self.popen)

    def surviving_pids(self) -> list[int]:
        """Pids of the group that are still running."""
        return [pid for pid in psutil.pids() if _runs_in_group(pid, self._leader.pid)]


class Stack:
    """All processes of the Procfile, on a free port, with the given settings."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] = os.environ,
        *,
        launch: Launch = launch,
    ) -> None:
        self.port = free_port()
        programs = Path(sys.executable).parent
        environ = {
            **settings,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "PATH": f"{programs}{os.pathsep}{settings.get('PATH', os.defpath)}",
            "METRICS_FOLDER": str(folder / "metrics"),
            "EXPORTS_FOLDER": str(folder / "exports"),
            "BEAT_SCHEDULE_FILE": str(folder / "beat-schedule"),
            "PYTHONUNBUFFERED": "1",
        }
        self.processes = {
            name: ProcfileProcess(name, command, environ, folder / f"{name}.log", launch)
            for name, command in _procfile().items()
        }
        self.release = self.processes.pop(RELEASE)

    def __getitem__(self, name: str) -> ProcfileProcess:
        return self.processes[name]

    def start(self) -> None:
        """Start what is not running; returns when the web answers and all workers are up."""
        if not self.release.log.exists():
            self.release.start()
            if self.release.exit_code(START_TIMEOUT_SECONDS) != 0:
                raise DevError(f"The release step failed:\n{self.log_tails()}")
        self.restart_ended()
        wait_until(lambda: self._is_up() or self.has_failed(), START_TIMEOUT_SECONDS)
        if self.has_failed() or not self._is_up():
            raise DevError(f"The processes did not come up:\n{self.log_tails()}")

    def restart_ended(self) -> list[str]:
        """Start every process that is not running, like a supervisor; returns their names."""
        ended = [name for name, process in self.processes.items() if not process.is_running()]
        for name in ended:
            self.processes[name].start()
        return ended

    def stop(self) -> dict[str, int | None]:
        """Send SIGTERM to every leader. Returns exit codes; None where a kill was needed."""
        for process in self.processes.values():
            process.terminate()
        wait_until(
            lambda: not any(process.is_running() for process in self.processes.values()),
            STOP_TIMEOUT_SECONDS,
        )
        codes = {name: process.exit_code() for name, process in self.processes.items()}
        self.kill()
        return codes

    def kill(self) -> None:
        for process in (self.release, *self.processes.values()):
            process.kill()

    @contextmanager
    def extra_process(self, name: str) -> Iterator[None]:
        """Run a second process of this name."""
        process = self.processes[name].another()
        process.start()
        try:
            yield
        finally:
            process.kill()

    @contextmanager
    def with_settings(self, names: Sequence[str], settings: Mapping[str, str]) -> Iterator[None]:
        """Restart some processes with other settings; the end restores the old ones."""
        changed = [self.processes[name] for name in names]
        before = [process.environ for process in changed]
        try:
            for process in changed:
                process.kill()
                process.environ = {**process.environ, **settings}
            self.start()
            yield
        finally:
            for process, environ in zip(changed, before, strict=True):
                process.kill()
                process.environ = environ

    def log_tails(self) -> str:
        """The end of every log, for debugging a failed test."""
        logs = [process.log for process in (self.release, *self.processes.values())]
        return "\n".join(f"--- {log.stem}\n{_tail(log)}" for log in logs if log.exists())

    def count_log_lines(self, name: str, *words: str) -> int:
        """Number of lines in a process's log that contain all these words."""
        lines = self.processes[name].log.read_text().splitlines()
        return sum(all(word in line for word in words) for line in lines)

    def has_failed(self) -> bool:
        """Whether a process is not running."""
        return any(not process.is_running() for process in self.processes.values())

    def _is_up(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            leaders = self.processes.keys() - WITHOUT_CHILDREN
            return all(self.processes[name].children() for name in leaders)
        return False


def _procfile() -> dict[str, str]:
    lines = (PROJECT_ROOT / "Procfile").read_text().splitlines()
    commands = (line.split(":", 1) for line in lines if line.strip() and line[0] != "#")
    return {name.strip(): command.strip() for name, command in commands}


def _runs_in_group(pid: int, group: int) -> bool:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        return os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-SHOWN_LINES:])
