"""What both embedded servers have in common: found if left behind, started, stopped last."""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import psutil

from dev.data_folder import hold
from dev.errors import DevError

# Recovery after a kill -9 reads the whole log again before it answers.
START_TIMEOUT_SECONDS = 120.0
# A server writes its pid file within milliseconds; without one it has died.
PID_FILE_TIMEOUT_SECONDS = 5.0
STOP_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.05


class EmbeddedServer(ABC):
    """A server on one folder, in a session of its own, so that Ctrl-C does not reach it.

    It outlives an owner killed with -9. The next owner takes it over: a second
    server on the same folder would ruin the data.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.log = self.folder / "server.log"

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The settings, by their names in the environment, that reach this server.

        An empty text switches off what a `.env` says about a server elsewhere.
        """

    @abstractmethod
    def process(self) -> psutil.Process | None:
        """The server's process, whoever started it."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client is served, from this folder and no other."""

    @abstractmethod
    def launch(self) -> None:
        """Start the server in the background."""

    @contextmanager
    def running(self) -> Iterator[dict[str, str]]:
        with hold(self.folder):
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
            raise self.not_started()

    def not_started(self, reason: str = "") -> DevError:
        what = f"{self.name} could not be started{': ' if reason else ''}{reason.rstrip('.')}."
        return DevError(f"{what} Its log is {self.log}.")


def process_of(pid_file: Path, working_folder: Path) -> psutil.Process | None:
    """The process that a pid file names. A reused pid is told by its working folder."""
    with suppress(OSError, ValueError, IndexError, psutil.Error):
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        if Path(process.cwd()) == working_folder:
            return process
    return None


def has_ended(process: psutil.Process) -> bool:
    """A zombie has ended too: in a container there may be nobody to bury it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
