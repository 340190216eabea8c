"""Programs that need not import the project: each is forked from one process that has.

Imports are most of what a start costs. A program is otherwise as if it was started on its own:
with its own environment, session, standard output and errors, and one thread.
"""

import atexit
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from core.config import PROJECT_ROOT

FLASK = "from flask.cli import main; main()"
GUNICORN = "from gunicorn.app.wsgiapp import run; run()"
STDOUT, STDERR = 1, 2
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["gunicorn.app.wsgiapp", "web.asgi", "web.front.server", __name__])


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
