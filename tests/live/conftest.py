"""One web process with one thread, and the live process beside it, over the test's servers."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import pytest

from core.bootstrap import Services
from dev.stack import Process, free_port, takes_connections, wait_until
from tests.leaks import assert_quiet
from tests.live.watching import Watcher, watch
from tests.system.client import Client

MAX_WATCHERS = 12
START_SECONDS = 30
GUNICORN = "-m gunicorn --config web/gunicorn_conf.py 'web:create_app()'"


# The live process itself, less patient in one respect than it is by nature.
IMPATIENT = "from web.live import __main__, watcher; {}; __main__.main()"


class Pair:
    """The two processes that a watcher meets."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.socket = folder / "live.sock"
        environ = {
            **os.environ,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "LIVE_SOCKET": str(self.socket),
            "METRICS_FOLDER": str(folder / "metrics"),
            "LIVE_MAX_WATCHERS": str(MAX_WATCHERS),
            "WEB_PROCESSES": "1",
            "WEB_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        python = sys.executable
        self.web = Process("web", f"{python} {GUNICORN}", environ, folder / "web.log")
        self.live = Process("live", f"{python} -m web.live", environ, folder / "live.log")

    def start_live(self) -> None:
        self.live.start()
        is_up = wait_until(lambda: takes_connections(self.socket), START_SECONDS)
        assert is_up, self.live.log.read_text()

    def kill_live(self) -> None:
        """Its socket's file stays behind, as after every `kill -9`."""
        self.live.kill()
        assert self.socket.exists()

    @contextmanager
    def impatient(self, change: str) -> Iterator[None]:
        """A live process that gives watchers up sooner, in the place of the usual one."""
        patient = self.live
        patient.terminate()
        patient.popen.wait()
        command = shlex.join([sys.executable, "-c", IMPATIENT.format(change)])
        self.live = Process("live", command, patient.environ, patient.log)
        try:
            self.start_live()
            yield
        finally:
            self.live.terminate()
            self.live.popen.wait()
            self.live = patient

    def start_web(self) -> None:
        self.web.start()
        assert wait_until(self.is_healthy, START_SECONDS), self.web.log.read_text()

    def is_healthy(self) -> bool:
        with closing(Client(self.port)) as client, suppress(OSError):
            return client.get("/ready").status == 200
        return False

    def watch(self, session_id: object) -> AbstractContextManager[Watcher]:
        return watch(self.port, session_id)


@pytest.fixture(scope="package")
def running_pair(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("live"))
    try:
        pair.start_live()
        pair.start_web()
        yield pair
    finally:
        pair.web.kill()
        pair.live.kill()
    assert_quiet(pair.web, pair.live)


@pytest.fixture
def http(pair: Pair) -> Iterator[Client]:
    with closing(Client(pair.port)) as client:
        yield client


@pytest.fixture
def pair(running_pair: Pair, clean: None) -> Pair:
    """Both processes, whatever an earlier test did to them."""
    if not running_pair.live.is_running():
        running_pair.start_live()
    return running_pair
