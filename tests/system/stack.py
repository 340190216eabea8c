"""Starts, kills and stops the Procfile's processes; keeps what they say."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from core.config import PROJECT_ROOT

RELEASE = "release"
WITHOUT_CHILDREN = {"beat", "live"}
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.05
SHOWN_LINES = 60


class Process:
    """One line of the Procfile. It leads a process group, so none of its children is missed."""

    def __init__(self, name: str, command: str, environ: Mapping[str, str], log: Path) -> None:
        self.name, self.command, self.environ, self.log = name, command, environ, log
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(  # noqa: S603 - the project's own command
                ["/bin/sh", "-c", f"exec {self.command}"],
                cwd=PROJECT_ROOT,
                env=self.environ,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def is_running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def children(self) -> list[psutil.Process]:
        """Pool processes of Celery, workers of gunicorn."""
        return psutil.Process(self.popen.pid).children()

    def terminate(self) -> None:
        """What an operator's SIGTERM does: the leader alone is told."""
        if self.is_running():
            self.popen.terminate()

    def kill(self) -> None:
        """`kill -9` for the leader and all its children at once."""
        if self.popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()

    def left_behind(self) -> list[int]:
        """Pids of the group that still run."""
        return [pid for pid in psutil.pids() if _runs_in_group(pid, self.popen.pid)]


class Stack:
    """All processes of the Procfile, on a port of their own, under the environment's settings."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.live_socket = folder / "live.sock"
        programs = Path(sys.executable).parent
        environ = {
            **os.environ,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LIVE_SOCKET": str(self.live_socket),
            "BEAT_SCHEDULE_FILE": str(folder / "beat-schedule"),
            "PYTHONUNBUFFERED": "1",
        }
        self.processes = {
            name: Process(name, command, environ, folder / f"{name}.log")
            for name, command in _procfile().items()
        }
        self.release = self.processes.pop(RELEASE)

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def start(self) -> None:
        """Start what does not run; returns when the web answers and all workers listen."""
        if not self.release.log.exists():
            self.release.start()
            assert self.release.popen.wait(START_TIMEOUT_SECONDS) == 0, self.said()
        for process in self.processes.values():
            if not process.is_running():
                process.start()
        assert wait_until(lambda: self._is_up() or self._has_failed(), START_TIMEOUT_SECONDS)
        assert not self._has_failed(), self.said()

    def stop(self) -> dict[str, int | None]:
        """SIGTERM to every leader. Exit codes; None for one that did not end by itself in time."""
        for process in self.processes.values():
            process.terminate()
        wait_until(
            lambda: not any(process.is_running() for process in self.processes.values()),
            STOP_TIMEOUT_SECONDS,
        )
        codes = {name: process.popen.poll() for name, process in self.processes.items()}
        self.kill()
        return codes

    def kill(self) -> None:
        for process in (self.release, *self.processes.values()):
            process.kill()

    @contextmanager
    def second(self, name: str) -> Iterator[None]:
        """Runs one more process of a kind."""
        first = self.processes[name]
        process = Process(name, first.command, first.environ, first.log)
        process.start()
        try:
            yield
        finally:
            process.kill()

    def said(self) -> str:
        """The end of every log, for a person who looks at a failed test."""
        logs = [process.log for process in (self.release, *self.processes.values())]
        return "\n".join(f"--- {log.stem}\n{_tail(log)}" for log in logs if log.exists())

    def count_said(self, name: str, *words: str) -> int:
        """How many lines of a process's log hold all these words."""
        lines = self.processes[name].log.read_text().splitlines()
        return sum(all(word in line for word in words) for line in lines)

    def _has_failed(self) -> bool:
        return any(not process.is_running() for process in self.processes.values())

    def _is_up(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            leaders = self.processes.keys() - WITHOUT_CHILDREN
            has_workers = all(self.processes[name].children() for name in leaders)
            return has_workers and takes_connections(self.live_socket)
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def takes_connections(path: Path) -> bool:
    """Whether somebody listens on this Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def wait_until(condition: Callable[[], object], timeout_seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


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
