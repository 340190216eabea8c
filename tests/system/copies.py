"""The project copied to a folder of its own, where its data folder is its own, too."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from core.config import PROJECT_ROOT

PARTS = ("core", "dev", "loadtest", "web", "worker")
FILES = (".env.example", "Procfile", "pyproject.toml")
# Every character that means something to a shell, make, a URL, a configuration file or a list.
ODD_NAME = """it's "100%" $HOME ${x} `id` \\back, #1; a=b & (c) [d] {e} é 漢 ~!^|<>?*"""
# What would make it use servers and secrets of others.
OTHERS = ("POSTGRES_", "REDIS_", "CELERY_", "JWT_", "DEBUG", "PYTEST_")


@contextmanager
def project(name: str = "project") -> Iterator[Path]:
    """A fresh copy in a folder of this name, gone at the end. Bytecode comes along: without it
    each of the copy's processes would compile the project.
    """
    # Not pytest's own folder: as root it is closed to the account that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="flashbid-") as parent:
        folder = Path(parent) / name
        folder.mkdir()
        for part in PARTS:
            shutil.copytree(PROJECT_ROOT / part, folder / part)
        for file in FILES:
            shutil.copy(PROJECT_ROOT / file, folder)
        yield folder


def environ(port: int) -> dict[str, str]:
    """What a small stack of a copy starts with: no server of ours, no secret."""
    values = {name: text for name, text in os.environ.items() if not name.startswith(OTHERS)}
    return {**values, "PORT": str(port), "WEB_PROCESSES": "1"}


def processes(folder: Path) -> list[psutil.Process]:
    """Everything at work in the folder or below it, servers included."""
    return [process for process in psutil.process_iter() if _is_in(folder, process)]


def kill_processes(folder: Path) -> None:
    for process in processes(folder):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _is_in(folder: Path, process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return Path(process.cwd()).is_relative_to(folder)
    return False
