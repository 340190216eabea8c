"""Describes the machine and versions of a run."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from loadtest.settings import PROJECT_ROOT


def describe() -> dict[str, str]:
    """Human-readable names and values."""
    return {
        "CPU": _cpu(),
        "cores": str(_cores()),
        "load before the run": _load(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": sys.version.split()[0],
        "Locust": _version("locust"),
        "gunicorn": _version("gunicorn"),
        "commit": _commit(),
    }


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load() -> str:
    with suppress(OSError):
        return " ".join(f"{load:.2f}" for load in os.getloadavg())
    return "unknown"


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return version(package)
    return "not installed"


def _commit() -> str:
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],  # noqa: S607 - the user's git
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return done.stdout.strip()
    return "unknown"
