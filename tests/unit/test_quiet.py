"""The search of this process's own logs finds what it is for."""

import re
import subprocess
import sys

import pytest

from core.config import PROJECT_ROOT
from tests.support.factories import PASSWORD

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl"
SECRETS = {
    "token": TOKEN,
    "address": "bob@shop.example",
    "hash": "$argon2id$v=19",
    "member's password": PASSWORD,
}
# Unmasked, its controls, and as it is.
TESTS = """
import pytest, structlog
from core.telemetry import logs

def say(text):
    logs.configure_logs(debug=False)
    structlog.get_logger("web").warning("said", text=text)

@pytest.mark.parametrize("kind", SECRETS)
def test_unmasked(kind, monkeypatch):
    monkeypatch.setattr(logs, "_hide_secrets", lambda logger, method, line: line)
    say(SECRETS[kind])

def test_masked():
    say(SECRETS["token"])
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a pytest of its own, with the plugin alone, says of tests that log secrets."""
    folder = tmp_path_factory.mktemp("quiet")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_one.py").write_text(f"SECRETS = {SECRETS!r}\n{TESTS}")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.support.quiet",
            "-c",
            "pytest.ini",
            "-v",
            ".",
        ],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT_ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.parametrize("kind", SECRETS)
def test_control_a_secret_that_a_test_logs_fails_it(said: str, kind: str) -> None:
    test = f"test_one.py::test_unmasked[{kind}]"
    assert f"{test} PASSED" in said
    assert f"{test} ERROR" in said
    [reason] = re.findall(rf"^{re.escape(test)} wrote to the log: (.*)$", said, re.MULTILINE)
    assert kind in reason


def test_what_is_hidden_is_no_leak(said: str) -> None:
    assert "test_one.py::test_masked PASSED" in said
    assert "test_one.py::test_masked ERROR" not in said
    assert f"{1 + len(SECRETS)} passed, {len(SECRETS)} errors" in said
