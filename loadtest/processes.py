"""Processes that a load test starts: the stack when none is running, and the generators.

Each is in a session of its own, so that Ctrl-C reaches the load test alone and it can end
them in the right order.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from loadtest.errors import LoadTestError
from loadtest.sale.api import Api
from loadtest.settings import PROJECT_ROOT

START_SECONDS = 90.0
# The stack lets a worker finish what it has in hand, for 30 seconds at most.
STOP_SECONDS = 45.0
POLL_SECONDS = 0.2
SHOWN_LINES = 12
# Made-up members must not be written to, nor a shop told of their sale, whatever `.env` says.
UNTOLD = {"SMTP_HOST": "", "WEBHOOK_URL": ""}


class Child:
    """One process, its output in a file."""

    def __init__(
        self, arguments: Sequence[str], log: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(  # noqa: S603 - the project's own commands
                [sys.executable, *arguments],
                cwd=PROJECT_ROOT,
                env={**os.environ, **(settings or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    def ask_to_stop(self) -> None:
        if self.exit_code is None:
            self._popen.terminate()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within this time."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)
        return self.exit_code is not None

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End it, gracefully if it can be."""
        self.ask_to_stop()
        if not self.wait(seconds):
            # A second request means haste to the stack; whatever is still there then is killed.
            self.ask_to_stop()
            if not self.wait(seconds=5):
                self._popen.kill()
                self._popen.wait()

    def last_words(self) -> str:
        """The end of its output."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(f"    {line}" for line in text.splitlines()[-SHOWN_LINES:])


@contextmanager
def stack(host: str, log: Path) -> Iterator[bool]:
    """The stack at `host`, as `make run` starts it unless it is running; True if we started it."""
    if Api(host).is_healthy():
        yield False
        return
    child = Child(["-m", "dev", "run"], log, UNTOLD)
    try:
        _wait_until_healthy(child, host)
        yield True
    finally:
        child.stop()


def _wait_until_healthy(child: Child, host: str) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while not Api(host).is_healthy():
        if child.exit_code is not None:
            raise LoadTestError(f"The stack did not start:\n{child.last_words()}")
        if time.monotonic() > give_up_at:
            raise LoadTestError(f"The stack did not answer in time:\n{child.last_words()}")
        time.sleep(POLL_SECONDS)
