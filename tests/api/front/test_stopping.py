"""A server that ends answers whoever is connected, and tells them that it ends."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from core.bootstrap import Services
from core.telemetry.metric_files import PublishedMetrics
from dev.stack import wait_until
from tests.support.factories import Shop
from tests.support.forked import GUNICORN
from tests.support.http.raw import HEALTH, LOGIN, answer, ask, connected
from tests.support.http.serving import logging_to
from tests.support.locks import PATIENCE_SECONDS, wait_for_locks

KEPT = 20
MAX_REQUESTS = 5
# Far more than a stop takes that waits for nobody.
GRACE_SECONDS = 60
START_SECONDS = 60


@pytest.fixture
def port(services: Services, tmp_path: Path) -> Iterator[int]:
    with logging_to(tmp_path / "web.log") as port:
        yield port


def test_nobody_on_a_kept_connection_goes_without_an_answer(port: int) -> None:
    with ExitStack() as stack:
        kept = [
            stack.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=20)))
            for _ in range(KEPT)
        ]
        assert not any(is_last(connection) for connection in kept)
        [worker] = worker_of(port)
        os.kill(worker, signal.SIGTERM)
        while kept:
            kept = [connection for connection in kept if not is_last(connection)]


@pytest.mark.parametrize("path", ["/openapi.json", f"/api/leaderboard/{UUID(int=1)}"])
def test_a_worker_that_has_had_its_requests_is_replaced(
    services: Services, tmp_path: Path, path: str
) -> None:
    """Whether Flask answers them or the event loop."""
    options = ("--max-requests", str(MAX_REQUESTS))
    with logging_to(tmp_path / "web.log", GUNICORN, *options) as port:
        assert wait_until(lambda: len(worker_of(port)) == 1, START_SECONDS)
        [first] = worker_of(port)
        with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as kept:
            for _ in range(MAX_REQUESTS):
                kept.request("GET", path)
                kept.getresponse().read()
        assert wait_until(lambda: worker_of(port) not in ([], [first]), START_SECONDS)


def test_a_stop_waits_for_no_silent_or_slow_client(tmp_path: Path, services: Services) -> None:
    options = ("--graceful-timeout", str(GRACE_SECONDS))
    with ExitStack() as stack:
        with logging_to(tmp_path / "web.log", GUNICORN, *options) as port:
            connections = [stack.enter_context(connected(port)) for _ in range(3)]
            connections[1].sendall(LOGIN)
            assert ask(connections[2], HEALTH)[0] == 200
            stopped_at = time.monotonic()
        assert time.monotonic() - stopped_at < GRACE_SECONDS / 2
    assert "Traceback" not in (tmp_path / "web.log").read_text()


def test_a_stop_finishes_what_is_in_hand(tmp_path: Path, shop: Shop) -> None:
    log = tmp_path / "web.log"
    with logging_to(log, METRICS_FOLDER=str(tmp_path)) as port, ExitStack() as stack:
        connections = [stack.enter_context(connected(port)) for _ in range(3)]
        lock = stack.enter_context(shop.services.engine.connect())
        lock.exec_driver_sql("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        for connection in connections:
            connection.sendall(b"GET /api/sessions HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for_locks(shop, len(connections))
        [master] = re.findall(r"Listening at: \S+ \((\d+)\)", log.read_text())
        os.kill(int(master), signal.SIGTERM)
        with suppress(ConnectionError):
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            while time.monotonic() < give_up_at:
                with connected(port):
                    time.sleep(0.02)
        lock.rollback()
        for connection in connections:
            assert answer(connection)[0] == 200
            assert connection.recv(1) == b""
    assert "Traceback" not in log.read_text()
    assert counted(tmp_path, "flashbid_http_requests_total") >= len(connections)


def counted(folder: Path, name: str) -> float:
    """What the stopped server's processes had counted in all."""
    return sum(
        sample.value
        for metric in PublishedMetrics(str(folder)).collect()
        for sample in metric.samples
        if sample.name == name
    )


def is_last(connection: HTTPConnection) -> bool:
    """Whether an answer says that no other follows it."""
    connection.request("GET", "/openapi.json")
    answer = connection.getresponse()
    assert (answer.status, len(answer.read()) > 0) == (200, True)
    return answer.getheader("Connection") == "close"


def worker_of(port: int) -> list[int]:
    """The children of the one who listens there."""
    for child in psutil.Process().children(recursive=True):
        listens = [at.laddr.port for at in child.net_connections("tcp") if at.status == "LISTEN"]
        if port in listens:
            return [worker.pid for worker in child.children()]
    raise AssertionError(f"nobody listens at {port}")
