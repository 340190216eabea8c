"""A gunicorn with the project's own configuration, for what only a real server shows."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from core.config import PROJECT_ROOT

START_SECONDS = 30


@contextmanager
def serving(**settings: str) -> Iterator[int]:
    """Run one web process with these settings on top; the context's value is its port."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_PROCESSES": "1", **settings}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [
                *(sys.executable, "-m", "gunicorn"),
                *("--config", "web/gunicorn_conf.py", "web:create_app()"),
            ],
            cwd=PROJECT_ROOT,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
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
