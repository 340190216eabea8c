"""A gunicorn with the project's own configuration, for what only a real server shows."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.children import free_port, spawn
from tests.support.leaks import assert_no_leak

START_SECONDS = 30
GUNICORN = ("-m", "gunicorn")
_CHANGED = """\
from web.front import connections, http, server
{}
from gunicorn.app.wsgiapp import run
run()
"""


def changed(*changes: str) -> tuple[str, str]:
    """The same program with other bounds: statements about `server`, `http`, `connections`."""
    return "-c", _CHANGED.format("\n".join(changes))


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
def logging_to(log: Path, program: Sequence[str] = GUNICORN, **settings: str) -> Iterator[int]:
    """The same with a log that is the caller's; `program` is what Python runs."""
    port = free_port()
    environment = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_PROCESSES": "1", **settings}
    with log.open("wb") as output:
        process = spawn(
            [
                *(sys.executable, *program),
                *("--config", "web/gunicorn_conf.py", "web.asgi:create_asgi_app()"),
            ],
            {**os.environ, **environment},
            output,
        )
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up_at:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("gunicorn did not start")
