"""Programs that need not import the project: each is forked from one process that has.

Imports are most of what a start costs. A program is otherwise as if it was started on its own:
with its own environment, session, standard output and errors, and one thread.
"""

import atexit
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from core.config import PROJECT_ROOT

FLASK = "from flask.cli import main; main()"
GUNICORN = "from gunicorn.app.wsgiapp import run; run()"
_PROGRAMS = {
    "celery": "from celery.__main__ import main; main()",
    "flask": FLASK,
    "gunicorn": GUNICORN,
}
STDOUT, STDERR = 1, 2
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        "gunicorn.app.wsgiapp",
        "web.asgi",
        "web.front.server",
        "celery.__main__",
        "celery.bin.celery",
        "celery.apps.beat",
        "celery.concurrency.prefork",
        "kombu.transport.redis",
        "worker.beat",
        "worker.broker",
        "worker.tasks",
        __name__,
    ]
)


def start(
    program: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    output: Path,
    errors: Path | None = None,
) -> BaseProcess:
    """Run a Python text with `sys.argv`. Its errors go where its output goes, or elsewhere."""
    process = _server.Process(
        target=_run, args=(program, list(arguments), dict(environ), output, errors or output)
    )
    process.start()
    return process


def launch(command: str, environ: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Run a line of the Procfile, whose output is appended to the log."""
    listed = f"for word in {command}; do printf '%s\\0' \"$word\"; done"
    words = subprocess.run(  # noqa: S603 - our own Procfile
        ["/bin/sh", "-c", listed], env=environ, check=True, capture_output=True, text=True
    ).stdout.split("\0")[:-1]
    return popen(_PROGRAMS[words[0]], words, environ, log)


def popen(
    program: str, arguments: Sequence[str], environ: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    """`start` for who expects a `subprocess.Popen`."""
    return cast("subprocess.Popen[bytes]", _Child(start(program, arguments, environ, log)))


class _Child:
    """What a `subprocess.Popen` has, of a forked process."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid
        self.terminate = process.terminate

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self._process.exitcode


def _run(
    program: str, arguments: list[str], environ: dict[str, str], output: Path, errors: Path
) -> None:
    os.setsid()
    os.chdir(PROJECT_ROOT)
    os.environ.clear()
    os.environ.update(environ)
    for path, standard in ((output, STDOUT), (errors, STDERR)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), standard)
    sys.argv = arguments
    try:
        exec(program, {"__name__": "__main__"})  # noqa: S102 - the test's own program
    finally:
        # Neither this process nor one that it forks calls them otherwise.
        atexit._run_exitfuncs()
