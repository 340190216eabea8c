"""A server that ends answers whoever is connected, and tells them that it ends."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from core.bootstrap import Services
from dev.stack import wait_until
from tests.support.forked import GUNICORN
from tests.support.http.serving import logging_to

KEPT = 20
MAX_REQUESTS = 5
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
