"""One web process with one thread, over the test's servers."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from core.bootstrap import Services
from dev.children import free_port
from dev.stack import ProcfileProcess, wait_until
from tests.support import forked
from tests.support.forked import GUNICORN
from tests.support.http.client import Client
from tests.support.http.watching import Watcher, watch
from tests.support.leaks import assert_quiet

MAX_WATCHERS = 12
START_SECONDS = 30
STOP_SECONDS = 30
ARGUMENTS = ("gunicorn", "--config", "web/gunicorn_conf.py", "web.asgi:create_asgi_app()")


def launch(change: str, environ: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start gunicorn in a Python that has changed something before."""
    return forked.popen(f"{change}\n{GUNICORN}", ARGUMENTS, environ, log)


class Web:
    """The web process that watchers and bidders meet."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        environ = {
            **os.environ,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "METRICS_FOLDER": str(folder / "metrics"),
            "LIVE_MAX_WATCHERS": str(MAX_WATCHERS),
            "WEB_PROCESSES": "1",
            "WEB_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self.process = ProcfileProcess("web", "", environ, folder / "web.log", launch)

    def start(self) -> None:
        self.process.start()
        assert wait_until(self.answers, START_SECONDS), self.process.log.read_text()

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.exit_code(STOP_SECONDS) == 0

    def answers(self) -> bool:
        with closing(Client(self.port)) as client, suppress(OSError):
            return client.get("/openapi.json").status == 200
        return False

    @contextmanager
    def changed(self, change: str = "", **settings: str) -> Iterator[None]:
        """A process that is less patient, or has other settings, in the place of the usual one,
        which goes on meanwhile.
        """
        usual, usual_port = self.process, self.port
        self.port = free_port()
        own = {"PORT": str(self.port), "METRICS_FOLDER": f"{usual.log.parent}/{self.port}"}
        environ = {**usual.environ, **own, **settings}
        self.process = ProcfileProcess("web", change, environ, usual.log, launch)
        try:
            self.start()
            yield
        finally:
            self.process.kill()
            self.process, self.port = usual, usual_port

    def watch(self, session_id: object) -> AbstractContextManager[Watcher]:
        return watch(self.port, session_id)


@pytest.fixture(scope="package")
def running_web(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    web = Web(tmp_path_factory.mktemp("live"))
    try:
        web.start()
        yield web
    finally:
        web.process.kill()
    assert_quiet(web.process)


@pytest.fixture
def http(web: Web) -> Iterator[Client]:
    with closing(Client(web.port)) as client:
        yield client


@pytest.fixture
def web(running_web: Web, clean: None) -> Web:
    """A running process, whatever an earlier test did to it."""
    if not running_web.process.is_running():
        running_web.start()
    return running_web


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
TIMEOUT_SECONDS = 20


def refusal(
    web: Web, path: str, headers: dict[str, str], method: str = "GET"
) -> tuple[int, Any, bytes]:
    """Status, headers and body of a handshake's answer."""
    connection = HTTPConnection("127.0.0.1", web.port, timeout=TIMEOUT_SECONDS)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def has_place(web: Web, session_id: object) -> bool:
    try:
        with web.watch(session_id):
            return True
    except InvalidStatus:
        return False
