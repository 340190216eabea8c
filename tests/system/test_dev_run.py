"""`make run` itself, on a copy of the project, so that it has a data folder of its own."""

import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path

import psutil
import pytest

from dev.children import free_port, spawn
from dev.stack import wait_until
from loadtest.processes import UNTOLD
from tests.support.http.client import Client
from tests.support.leaks import assert_no_leak
from tests.system import copies

pytestmark = pytest.mark.tools
SERVERS = {"postgres", "valkey-server"}
TIMEOUT_SECONDS = 60.0
# What a developer may have there, and a load test must not use.
DOTENV = f"""\
PORTT=8123
SMTP_HOST=127.0.0.1
SMTP_PORT=1
SMTP_TLS=none
SMTP_FROM=sales@shop.example
WEBHOOK_URL=http://127.0.0.1:1/hook
WEBHOOK_SECRET=whsec_{b64encode(b"0" * 32).decode()}
"""


class Runner:
    """`python -m dev run` in a folder, again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.log = folder / "run.log"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.popen: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            environ = {**copies.environ(self.port), **UNTOLD, "TMPDIR": str(self.temporary)}
            command = [sys.executable, "-m", "dev", "run"]
            self.popen = spawn(command, environ, log, folder=self.folder)
        self.starts += 1
        assert wait_until(self._is_up, TIMEOUT_SECONDS), self.log.read_text()

    def command(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """A command in another terminal, which knows nothing of the run's environment."""
        return subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "flask", "--app", "web", *arguments],
            cwd=self.folder,
            env={**copies.environ(1), "PORT": "", **environ},
            check=False,
            capture_output=True,
            text=True,
        )

    def press_ctrl_c(self) -> None:
        self.popen.send_signal(signal.SIGINT)
        assert self.popen.wait(TIMEOUT_SECONDS) == 0, self.log.read_text()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def kill_with_its_servers(self) -> None:
        """The web and the workers are left behind, without an owner and without servers."""
        self.kill()
        servers = [process for process in self.processes() if process.name() in SERVERS]
        assert {server.name() for server in servers} == SERVERS
        for server in servers:
            with suppress(psutil.NoSuchProcess):
                server.kill()

    def processes(self) -> list[psutil.Process]:
        """Everything at work in the folder or below it, the servers included."""
        return copies.processes(self.folder)

    def _is_up(self) -> bool:
        """By its own word: what a killed run left behind may answer as well."""
        if self.log.read_text().count("Flashbid is up") < self.starts:
            return False
        with closing(Client(self.port)) as client, suppress(OSError, HTTPException):
            return client.get("/health").status == 200
        return False


@pytest.fixture
def runner() -> Iterator[Runner]:
    with copies.project(copies.ODD_NAME) as folder:
        (folder / ".env").write_text(DOTENV)
        runner = Runner(folder)
        yield runner
        runner.kill()
        copies.kill_processes(folder)
        assert_no_leak([runner.log])


def test_a_run_ends_by_ctrl_c_survives_a_kill_and_keeps_its_data(runner: Runner) -> None:
    started = time.monotonic()
    runner.start()
    print(f"first start {time.monotonic() - started:.1f} s")  # noqa: T201
    account = {"username": "admin", "password": "admin123"}
    with closing(Client(runner.port)) as client:
        answer = client.post("/api/auth/register", **account, email="admin@test.com")
        token = client.token = answer.json["token"]
        sale = {"name": "Item", "upset_price": 100, "inventory": 1}
        session_id = client.post("/api/admin/sessions/combined", **sale).json["session_id"]
        assert client.bid(session_id, 150).json["sequence"] == 1
        channels = client.get("/api/admin/channels").json
        assert {channel["channel"]: channel["is_on"] for channel in channels} == {
            "email": False,
            "webhook": False,
        }
    assert len(runner.processes()) > 10
    assert "PORTT is no setting of Flashbid and is ignored. Did you mean PORT?" in (
        runner.log.read_text()
    )
    commands_use_the_servers_of_the_run(runner)

    runner.press_ctrl_c()

    assert runner.processes() == []
    runner.start()
    with closing(Client(runner.port, token)) as client:
        assert client.bid(session_id, 150).json["replayed"]
        newest = client.bid(session_id, 160).json
    runner.kill_with_its_servers()
    runner.start()
    with closing(Client(runner.port)) as client:
        assert client.post("/api/auth/login", **account).json["is_admin"]
        [line] = client.get(f"/api/leaderboard/{session_id}").json["leaderboard"]
    assert newest["sequence"] == 2
    assert (line["price"], line["score"]) == (160, newest["score"])
    runner.press_ctrl_c()
    assert runner.processes() == []


def commands_use_the_servers_of_the_run(runner: Runner) -> None:
    done = runner.command("promote", "admin")
    assert done.returncode == 0, done.stderr
    assert "Note:" not in done.stderr
    elsewhere = runner.command("promote", "nobody", REDIS_HOST="127.0.0.1", REDIS_PORT="1")
    assert "Note: `make run` is up with Redis at 127.0.0.1:" in elsewhere.stderr
    assert "This command uses 127.0.0.1:1/0" in elsewhere.stderr
    assert "PostgreSQL at" not in elsewhere.stderr
