"""The search of this process's own logs finds what it is for."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT
from tests.factories import PASSWORD

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl"
LOGGING = """
import structlog
from core.telemetry import logs
from core.telemetry.logs import configure_logs
{without}
def test_that_logs():
    configure_logs(debug=False)
    structlog.get_logger("web").warning("said", text={text!r})
"""
UNMASKED = "logs._hide_secrets = lambda logger, method, line: line"


def outcome_of(folder: Path, text: str, without: str = "") -> str:
    """How a test ends that logs this, in a pytest of its own with the plugin alone."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_one.py").write_text(LOGGING.format(text=text, without=without))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.quiet", "-c", "pytest.ini", "-q", "."],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT_ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (TOKEN, "token"),
        ("bob@shop.example", "address"),
        ("$argon2id$v=19", "hash"),
        (PASSWORD, "member's password"),
    ],
)
def test_control_a_secret_that_a_test_logs_fails_it(tmp_path: Path, text: str, kind: str) -> None:
    said = outcome_of(tmp_path, text, UNMASKED)
    assert "1 passed, 1 error" in said
    assert "wrote to the log: " in said
    assert kind in said


def test_what_is_hidden_is_no_leak(tmp_path: Path) -> None:
    assert "1 passed in" in outcome_of(tmp_path, TOKEN)
