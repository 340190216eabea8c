"""The lifecycle of an embedded server: adopt one left running, start, stop."""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import psutil

from dev.data_folder import lock_folder
from dev.errors import DevError

# After kill -9, recovery reads the whole log before the server answers.
START_TIMEOUT_SECONDS = 120.0
# A server writes its pid file within milliseconds; without one it has crashed.
PID_FILE_TIMEOUT_SECONDS = 5.0
STOP_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.05


class EmbeddedServer(ABC):
    """A server on one folder, in its own session, which Ctrl-C does not reach.

    It survives kill -9 of its owner. The next owner takes it over, because a second server
    on the same folder would corrupt the data.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.log = self.folder / "server.log"

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Environment variables to connect to this server.

        An empty value overrides a `.env` that names another server.
        """

    @abstractmethod
    def process(self) -> psutil.Process | None:
        """The server's process, even if another owner started it."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server answers and uses this folder."""

    @abstractmethod
    def launch(self) -> None:
        """Start the server in the background."""

    @contextmanager
    def running(self) -> Iterator[dict[str, str]]:
        with lock_folder(self.folder):
            try:
                self.start()
                yield self.settings()
            finally:
                self.stop()

    def start(self) -> None:
        if self.process() is None:
            self.launch()
        self._await_answer()

    def stop(self) -> None:
        process = self.process()
        if process is None:
            return
        with suppress(psutil.NoSuchProcess):
            process.send_signal(self.stop_signal)
            if not wait_until(lambda: has_ended(process), STOP_TIMEOUT_SECONDS):
                process.kill()
                wait_until(lambda: has_ended(process), STOP_TIMEOUT_SECONDS)

    def _await_answer(self) -> None:
        last_seen, is_up = time.monotonic(), False

        def decided() -> bool:
            nonlocal last_seen, is_up
            if self.process() is not None:
                last_seen = time.monotonic()
            is_up = self.answers()
            return is_up or time.monotonic() - last_seen > PID_FILE_TIMEOUT_SECONDS

        wait_until(decided, START_TIMEOUT_SECONDS)
        if not is_up:
            self.stop()
            raise self.start_error()

    def start_error(self, reason: str = "") -> DevError:
        sentence = f"{self.name} could not be started{': ' if reason else ''}{reason.rstrip('.')}."
        return DevError(f"{sentence} Its log is {self.log}.")


def process_of(pid_file: Path, working_folder: Path) -> psutil.Process | None:
    """The process named by a pid file. Its working folder rules out a reused pid."""
    with suppress(OSError, ValueError, IndexError, psutil.Error):
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        if Path(process.cwd()) == working_folder:
            return process
    return None


def has_ended(process: psutil.Process) -> bool:
    """Whether the process has ended. A zombie counts: a container may have no init to reap it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Whether the condition became true in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
