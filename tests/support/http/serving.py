"""A gunicorn with the project's own configuration, for what only a real server shows."""

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from dev.children import free_port
from tests.support import forked
from tests.support.forked import GUNICORN
from tests.support.leaks import assert_no_leak

START_SECONDS = 30
_CHANGED = """\
from web.front import connections, http, server
{}
"""


def changed(*changes: str) -> str:
    """The same program with other bounds: statements about `server`, `http`, `connections`."""
    return _CHANGED.format("\n".join(changes)) + GUNICORN


@contextmanager
def serving(**settings: str) -> Iterator[int]:
    """Run one web process with these settings on top; the context's value is its port.

    When it has stopped, no secret may be in its log.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "web.log")
        with logging_to(log, **settings) as port:
            yield port
        assert_no_leak([log])


@contextmanager
def logging_to(log: Path, program: str = GUNICORN, *options: str, **settings: str) -> Iterator[int]:
    """The same with a log that is the caller's; `program` is what Python runs, with gunicorn's
    `options`.
    """
    port = free_port()
    environment = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_PROCESSES": "1", **settings}
    process = forked.start(
        program,
        [
            *("gunicorn", *options),
            *("--config", "web/gunicorn_conf.py", "web.asgi:create_asgi_app()"),
        ],
        {**os.environ, **environment},
        log,
    )
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.join()


def _wait_for(port: int, process: BaseProcess) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while process.is_alive() and time.monotonic() < give_up_at:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("gunicorn did not start")
