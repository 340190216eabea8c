"""Child processes: started in a session of their own, so that Ctrl-C does not reach them, and
ended with all of their group.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import IO, Any

from core.config import PROJECT_ROOT

LOOPBACK = "127.0.0.1"
# Below the ports of outgoing connections, so that none of those takes one before its server.
_PORTS = range(10_000, 32_000)
# The Procfile's programs, which are also modules.
_MODULES = ("celery", "flask", "gunicorn")
# Several processes choose at once, and may have given `random` the same seed.
_random = SystemRandom()


def spawn(
    command: Sequence[str | Path],
    environ: Mapping[str, str],
    output: IO[Any] | int,
    *,
    folder: Path = PROJECT_ROOT,
) -> subprocess.Popen[bytes]:
    """Start a command that reads nothing, and whose errors go where its output goes."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def shell(line: str) -> Sequence[str]:
    """The command of a line of a Procfile, which the shell does not outlive.

    Programs of this virtual environment are run as modules: the first line of their scripts has
    the checkout's path, which a kernel or a shell may not take as it is.
    """
    program = line.split(maxsplit=1)[0]
    python = '"$0" -m ' if program in _MODULES else ""
    return ("/bin/sh", "-c", f"exec {python}{line}", sys.executable)


def stop(child: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask the leader alone to stop; after this time end whatever is left of the group."""
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(seconds)
    kill(child)


def kill(child: subprocess.Popen[bytes]) -> int:
    """End whatever is left of the child's group; its exit code."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    while True:
        port = _random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
