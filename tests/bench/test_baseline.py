"""What is known of another checkout: its Procfile."""

from pathlib import Path

import pytest

from core.config import PROJECT_ROOT
from dev.bench.options import parse
from dev.bench.servers.baseline import ROLES, command_lines


def test_a_procfile_says_what_is_started(tmp_path: Path) -> None:
    lines = "# How to run it: all of it.\nweb: serve --bind 0.0.0.0:${PORT}\n\nworker: work\n"
    (tmp_path / "Procfile").write_text(lines)
    assert command_lines(tmp_path) == {"web": "serve --bind 0.0.0.0:${PORT}", "worker": "work"}


def test_our_own_has_what_a_later_commit_needs() -> None:
    assert {"web", "worker"} <= set(ROLES) & set(command_lines(PROJECT_ROOT))


def test_a_folder_without_an_environment_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Procfile").touch()
    with pytest.raises(SystemExit):
        parse(["--baseline", str(tmp_path)])
    assert "has no .venv/bin/python" in capsys.readouterr().err


def test_its_measures_are_refused_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--only", "bids-to-baseline"])
    assert "needs --baseline" in capsys.readouterr().err
