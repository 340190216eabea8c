"""`make flash` on a copy of the project that has never run, stopped in the middle of its sale."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread

import pytest

from dev.children import free_port
from loadtest.ledger import ledger
from tests.loadtest.reports import assert_stands_alone
from tests.support.leaks import leaks_in
from tests.system import copies

pytestmark = pytest.mark.tools
INVENTORY = 5
KNOBS = ["--members", "20", "--peak", "20", "--duration", "30", "--inventory", str(INVENTORY)]
PATIENCE_SECONDS = 90.0
SOME_BIDS_ARE_IN = r"\r\x1b\[K +\d+ s left  members \d+ .* bids/s .*  accepted [1-9]\d*  errors 0"
PARTS = (
    *("Bids per second", "Latency", "Persist backlog", "Threshold score"),
    *("Members and requests in flight", "Refusals and errors by kind"),
    *("Responses by kind", "Options", "Environment", "Command"),
)


class Flash:
    """The command on a terminal, and all that it writes there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.text = folder, ""
        self.host = f"http://127.0.0.1:{(port := free_port())}"
        self._grown = Condition()
        self._terminal, terminal = pty.openpty()
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - the project's own command
                [sys.executable, "-m", "loadtest", "flash", *KNOBS],
                cwd=folder,
                env=copies.environ(port),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=terminal,
            )
        finally:
            os.close(terminal)
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        # Linux reports the end of a terminal whose last program has gone as an error.
        with suppress(OSError):
            while piece := os.read(self._terminal, 65536):
                with self._grown:
                    self.text += piece.decode().replace("\r\n", "\n")
                    self._grown.notify_all()

    def says(self, pattern: str) -> bool:
        with self._grown:
            return self._grown.wait_for(
                lambda: re.search(pattern, self.text) is not None, PATIENCE_SECONDS
            )

    def press_ctrl_c(self) -> int:
        """The exit code."""
        self._popen.send_signal(signal.SIGINT)
        code = self._popen.wait(PATIENCE_SECONDS)
        self._reader.join()
        return code

    def close(self) -> None:
        self._popen.kill()
        self._popen.wait()
        copies.kill_processes(self.folder)
        self._reader.join()
        os.close(self._terminal)


@pytest.fixture
def flash() -> Iterator[Flash]:
    with copies.project() as folder:
        flash = Flash(folder)
        yield flash
        flash.close()


def test_a_sale_stopped_by_ctrl_c_is_closed_verified_and_reported(flash: Flash) -> None:
    assert flash.says(SOME_BIDS_ARE_IN), flash.text
    assert flash.press_ctrl_c() == 0, flash.text
    said = flash.text
    assert "Started." in said
    assert "The ledger, Redis, PostgreSQL and the API agree." in said
    assert "The sale was stopped early." in said
    assert copies.processes(flash.folder) == [], "the stack is stopped, too"
    assert leaks_in(said) == set()

    [folder] = (flash.folder / ".data" / "reports").iterdir()
    attempts = ledger.read(ledger.find(folder)).attempts
    accepted = sum(attempt.kind == ledger.ACCEPTED for attempt in attempts)
    assert f"{len(attempts)} requests in the ledger" in said
    [(bids, ranked)] = re.findall(r"(\d+) bids, (\d+) members in the rankings", said)
    assert int(bids) >= accepted > 0

    winners = re.findall(r"^ +(\d+)  (\S+) +[\d,]+\.\d\d$", said, re.MULTILINE)
    count = min(INVENTORY, int(ranked))
    assert [int(rank) for rank, _ in winners] == list(range(1, count + 1))
    assert f"{count} winners of " in said

    report = (folder / "report.html").read_text()
    assert f"Report: {folder}/report.html" in said
    assert_stands_alone(report, flash.host)
    assert [part for part in PARTS if f"<h2>{part}</h2>" not in report] == []
    assert [name for _, name in winners if f"<td>{name}</td>" not in report] == []
    assert "The sale was stopped early." in report
