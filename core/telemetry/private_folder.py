"""A folder that belongs to this process's user, closed to others.

In a folder that others may write to, another user could come first, and show numbers of their
own or stop ours.
"""

import os
import stat
from pathlib import Path

_CLOSED_TO_OTHERS = 0o700
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class NotPrivate(Exception):
    """The folder is not this user's own. The message is for the operator."""


def make_private(folder: Path) -> None:
    """Create the folder and the missing ones above it, each closed to other users.

    Raises NotPrivate if it is there and another user's, and OSError if it cannot be created.
    """
    for missing in [path for path in (*reversed(folder.parents), folder) if not path.exists()]:
        missing.mkdir(mode=_CLOSED_TO_OTHERS, exist_ok=True)
    require_private(folder)


def require_private(folder: Path) -> None:
    """Raises NotPrivate unless the folder is this user's, and OSError if it is not there."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotPrivate(f"{folder} is not a folder. Delete it, or set RUNTIME_FOLDER to another.")
    if found.st_uid != os.geteuid():
        raise NotPrivate(
            f"{folder} belongs to user {found.st_uid}, but this process runs as user "
            f"{os.geteuid()}. Delete it, give it to this user, or set RUNTIME_FOLDER to another."
        )
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise NotPrivate(f"Other users may write to {folder}. Close it with: chmod 700 {folder}")
