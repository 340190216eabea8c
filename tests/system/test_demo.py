"""`make demo`: something is sold, somebody bids, and nothing is left behind."""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from core.config import PROJECT_ROOT
from dev.children import spawn
from dev.stack import wait_until
from flashbid_client import Flashbid
from tests.support.leaks import assert_no_leak
from tests.system import copies

pytestmark = pytest.mark.tools
TIMEOUT_SECONDS = 120.0


class Demo:
    """`python -m dev.demo` with a folder for temporary files of its own."""

    def __init__(self, folder: Path) -> None:
        self.log, self.temporary = folder / "demo.log", folder / "tmp"
        self.temporary.mkdir()
        environ = {
            **copies.environ(1),
            "PYTHONPATH": str(PROJECT_ROOT / "clients" / "python"),
            "TMPDIR": str(self.temporary),
        }
        with self.log.open("ab") as log:
            self.popen: subprocess.Popen[bytes] = spawn(
                [sys.executable, "-m", "dev.demo"], environ, log
            )

    def said(self, pattern: str) -> str:
        """What it says, once it does."""
        found: list[str] = []

        def has_come() -> bool:
            found[:] = re.findall(pattern, self.log.read_text())
            return bool(found) or self.popen.poll() is not None

        wait_until(has_come, TIMEOUT_SECONDS)
        assert found, self.log.read_text()
        return found[0]

    def processes(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.popen.pid).children(recursive=True)
        return []


@pytest.fixture
def demo() -> Iterator[Demo]:
    # Not pytest's own folder: as root it is closed to the account that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="flashbid-") as folder:
        demo = Demo(Path(folder))
        yield demo
        for process in [*demo.processes(), *copies.processes(Path(folder))]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        demo.popen.kill()
        demo.popen.wait()
        assert_no_leak([demo.log])


def test_a_demo_sells_to_a_crowd_and_leaves_nothing_behind(demo: Demo) -> None:
    url = demo.said(r"up at (http://localhost:\d+)").replace("localhost", "127.0.0.1")
    password = demo.said(r"with the password (\S+)")
    name = demo.said(r"Selling \d of '(.*)' until")
    with Flashbid(url) as admin:
        assert admin.login("admin", password).is_admin
        [sale] = admin.sessions("active")
        assert sale.name == name
        boards = admin.watch(sale.session_id)
        board = next(board for board in boards if len(board.leaderboard) >= 2)
    assert all(entry.price >= sale.upset_price for entry in board.leaderboard)
    processes = demo.processes()
    assert len(processes) > 10

    demo.popen.send_signal(signal.SIGINT)
    assert demo.popen.wait(TIMEOUT_SECONDS) == 0, demo.log.read_text()

    assert [process for process in processes if process.is_running()] == []
    assert list(demo.temporary.iterdir()) == []


def test_a_process_that_ends_ends_the_demo_with_its_log(demo: Demo) -> None:
    demo.said("Selling")
    [beat] = [process for process in demo.processes() if "beat" in process.cmdline()]
    beat.kill()
    assert demo.popen.wait(TIMEOUT_SECONDS) == 1
    assert "A process has ended" in demo.log.read_text()
    assert list(demo.temporary.iterdir()) == []
