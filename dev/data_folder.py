"""The folder with all local data, and the lock on it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from core.config import PROJECT_ROOT
from dev.errors import DevError

DATA_PATH = PROJECT_ROOT / ".data"
POSTGRES_PATH = DATA_PATH / "postgres"
REDIS_PATH = DATA_PATH / "redis"
PROCESSES_PATH = DATA_PATH / "processes.json"
# Commands that look whether a run is up hold the lock for a moment.
LOCK_TIMEOUT_SECONDS = 1.0
LOCK_POLL_SECONDS = 0.02
JWT_SECRET_PATH = DATA_PATH / "jwt_secret"


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock `folder` for this process. The lock ends with the process, even after kill -9."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except PermissionError:
        raise DevError(
            f"{folder} belongs to another user. Delete it as that user, or run as that user."
        ) from None
    except OSError as error:
        raise DevError(f"{folder} cannot be used as a data folder: {error.strerror}.") from None
    with lock:
        _take(lock, folder)
        yield


def _take(lock: TextIO, folder: Path) -> None:
    give_up_at = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while not _is_taken(lock):
        if time.monotonic() > give_up_at:
            lock.seek(0)
            raise DevError(
                f"{folder} is in use by process {lock.read().strip()}. "
                "Stop it first, with Ctrl-C in its terminal."
            )
        time.sleep(LOCK_POLL_SECONDS)
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def _is_taken(lock: TextIO) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def write_private(path: Path, text: str) -> None:
    """Write a file that is never readable by other users."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
