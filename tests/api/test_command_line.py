"""The command line before its settings are right, as on a fresh machine."""

import os
import subprocess
import sys

import pytest

from core.config import PROJECT_ROOT


def flask(*arguments: str) -> subprocess.CompletedProcess[str]:
    """With a secret that would not do, in the place of a developer's own or of none."""
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "flask", "--app", "web", *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, "JWT_SECRET": "poor", "JWT_SECRET_FILE": "", "DEBUG": "false"},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("command", [(), ("capacity",), ("create-admin",), ("promote",)])
def test_help_needs_no_right_settings(command: tuple[str, ...]) -> None:
    done = flask(*command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ")
    assert command or "disable-member" in done.stdout


def test_what_a_command_does_needs_them() -> None:
    done = flask("init-db")
    assert done.returncode == 1
    assert done.stderr.startswith("Flashbid cannot start: JWT_SECRET ")
