"""The lines that a web server says once at its start."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.bootstrap import Services
from tests.support.http.serving import logging_to

STRICT = {"PASSWORD_MIN_LENGTH": "12", "PASSWORD_REFUSE_COMMON": "true"}


def said(log: Path, event: str, **settings: str) -> list[dict[str, Any]]:
    """The events of this name in the log of a server that came up; DEBUG's lines are no JSON."""
    with logging_to(log, **settings):
        pass
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_it_says_once_where_it_listens(services: Services, tmp_path: Path) -> None:
    [line] = said(tmp_path / "log", "listening", WEB_PROCESSES="2")
    assert line["host"] == "127.0.0.1"
    assert line["reachable_from"] == "this machine only; set HOST to let others connect"


@pytest.mark.parametrize("lax", STRICT)
def test_it_warns_once_that_weak_passwords_are_allowed(
    services: Services, tmp_path: Path, lax: str
) -> None:
    settings = {**STRICT, lax: "", "WEB_PROCESSES": "2"}
    [line] = said(tmp_path / "log", "weak_passwords_allowed", **settings)
    assert line["level"] == "warning"
    assert all(name in line["remedy"] for name in STRICT)


def test_it_does_not_where_they_are_refused(services: Services, tmp_path: Path) -> None:
    assert said(tmp_path / "log", "weak_passwords_allowed", **STRICT) == []


def test_it_does_not_with_debug(services: Services, tmp_path: Path) -> None:
    said(tmp_path / "log", "", DEBUG="true")
    assert "weak_passwords_allowed" not in (tmp_path / "log").read_text()
