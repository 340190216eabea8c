"""Looks in logs for what lets somebody in, and for people's addresses."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dev.stack import ProcfileProcess, Stack

PATTERNS = {
    "token": r"eyJ[\w-]+\.[\w-]+\.",
    "password hash": r"\$argon2",
    # Of the domains that tests use: Celery's workers have names of the same shape.
    "address": r"[\w.+-]+@(?:[\w-]+\.)+(?:example|com|invalid)\b",
    # Celery shows its broker's as `:**@`.
    "password in a URL": r"://[^\s/@:]*:(?!\*+@)[^\s/@]+@",
    "password in a body": r"""password\\*["']\s*:\s*\\*["'](?!\[hidden)""",
}
SECRET_SETTINGS = ("JWT_SECRET", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "WEBHOOK_SECRET")
# A shorter one, such as a developer's own, may be any word.
SHORTEST_SECRET = 12


def leaks_in(text: str, environ: Mapping[str, str] = os.environ) -> set[str]:
    """The kinds of secrets that are in a log of a process with these settings."""
    found = {kind for kind, pattern in PATTERNS.items() if re.search(pattern, text)}
    values = {name: environ.get(name, "") for name in SECRET_SETTINGS}
    return found | {
        name for name, value in values.items() if len(value) >= SHORTEST_SECRET and value in text
    }


def assert_quiet(*processes: ProcfileProcess) -> None:
    """No secret is in the logs of these processes."""
    for process in processes:
        if process.log.exists():
            assert_no_leak([process.log], process.environ)


def assert_stack_quiet(stack: Stack) -> None:
    """No secret is in any log of a stack."""
    assert_quiet(stack.release, *stack.processes.values())


def assert_no_leak(logs: Iterable[Path], environ: Mapping[str, str] = os.environ) -> None:
    """No secret is in these logs of processes with these settings."""
    found = {log.name: leaks_in(log.read_text(errors="replace"), environ) for log in logs}
    assert not any(found.values()), found
