"""Commands run side by side, each in a session of its own, their output on one terminal."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import Lock, Thread

import psutil
from honcho.colour import get_colours
from honcho.printer import Message, Printer

from dev.children import kill, shell, spawn
from dev.embedded.server import has_ended, wait_until

# A Celery worker first finishes the task it has in hand.
GRACE_SECONDS = 30.0
POLL_SECONDS = 0.05
# What ends sooner cannot work as it is configured, and starting it again would not help.
REVIVED_AFTER_SECONDS = 10.0
NAME_WIDTH = len("release")


class Terminal:
    """Prints lines with the time and the name of who said them."""

    def __init__(self) -> None:
        self._printer = Printer(sys.stdout, width=NAME_WIDTH)
        self._colours = get_colours()
        self._lock = Lock()

    def next_colour(self) -> str:
        colour: str = next(self._colours)
        return colour

    def say(self, name: str, text: str | bytes, colour: str | None = None) -> None:
        message = Message("line", text, datetime.now().astimezone(), name, colour)
        # The terminal may be gone; the processes must be read to their end all the same.
        with self._lock, suppress(OSError, ValueError):
            self._printer.write(message)


class Child:
    """One command. Only its leader is told to stop.

    A SIGTERM to the whole group would kill the processes of a Celery worker's
    pool in the middle of their tasks; the leader lets them finish.
    """

    def __init__(
        self, name: str, command: str, environ: Mapping[str, str], terminal: Terminal
    ) -> None:
        self.name, self.command = name, command
        self._started_at = time.monotonic()
        self.popen = spawn(shell(command), environ, subprocess.PIPE)
        self._colour = terminal.next_colour()
        self._reader = Thread(target=self._relay, args=(terminal,), daemon=True)
        self._reader.start()

    def _relay(self, terminal: Terminal) -> None:
        assert self.popen.stdout is not None  # noqa: S101 - it was asked for above
        with self.popen.stdout as lines:
            for line in lines:
                terminal.say(self.name, line, self._colour)

    def has_ended(self) -> bool:
        return self.popen.poll() is not None

    def has_worked(self) -> bool:
        """Whether it ran for so long that another start may be all it needs."""
        return time.monotonic() - self._started_at > REVIVED_AFTER_SECONDS

    def ask_to_stop(self) -> None:
        self.popen.terminate()

    def bury(self) -> int:
        """End whatever is left of the command's group; its exit code."""
        code = kill(self.popen)
        self._reader.join(timeout=1.0)
        return code


class Processes:
    """The running commands, and a record of them for the case that the runner is killed."""

    def __init__(self, environ: Mapping[str, str], terminal: Terminal, record: Path) -> None:
        self._environ = environ
        self._terminal = terminal
        self._record = record
        self._children: list[Child] = []

    def start(self, name: str, command: str) -> None:
        self._children.append(Child(name, command, self._environ, self._terminal))
        self._record.write_text(
            json.dumps([_identity(child.popen.pid) for child in self._children])
        )

    def wait(self, *, unless: Callable[[], bool], revives: bool = False) -> tuple[str, int] | None:
        """Name and exit code of the first command that ends; None once `unless` is true.

        With `revives`, a command that has worked for a while is started again instead.
        """
        while not unless():
            for child in [child for child in self._children if child.has_ended()]:
                if not (revives and child.has_worked()):
                    return child.name, child.popen.returncode
                self._revive(child)
            time.sleep(POLL_SECONDS)
        return None

    def _revive(self, child: Child) -> None:
        code = child.bury()
        self._children.remove(child)
        self._terminal.say(child.name, f"It ended with code {code} and is started again.")
        self.start(child.name, child.command)

    def stop(self, *, hurry: Callable[[], bool]) -> None:
        for child in self._children:
            child.ask_to_stop()
        wait_until(lambda: hurry() or all(c.has_ended() for c in self._children), GRACE_SECONDS)
        for child in self._children:
            child.bury()
        self._children.clear()
        self._record.unlink(missing_ok=True)


def _identity(pid: int) -> dict[str, float]:
    """A pid with its time of birth: a pid alone may have been given away since."""
    with suppress(psutil.NoSuchProcess):
        return {"pid": pid, "created": psutil.Process(pid).create_time()}
    return {"pid": pid, "created": 0.0}


def stop_leftovers(record: Path) -> list[int]:
    """Stop what a killed runner left running; their pids."""
    if not record.exists():
        return []
    leftovers = [_same_process(**identity) for identity in _read(record)]
    alive = [process for process in leftovers if process is not None]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    wait_until(lambda: all(has_ended(process) for process in alive), GRACE_SECONDS)
    for process in alive:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    record.unlink()
    return [process.pid for process in alive]


def _read(record: Path) -> list[dict[str, float]]:
    """The record's entries; none when the runner was killed while it wrote."""
    with suppress(ValueError):
        entries: list[dict[str, float]] = json.loads(record.read_text())
        return entries
    return []


def _same_process(pid: float, created: float) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(pid))
        if process.create_time() == created and not has_ended(process):
            return process
    return None
