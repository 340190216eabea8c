"""No process starts on a runtime folder that others may write to, and a command makes none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.bootstrap import Services
from core.config import PROJECT_ROOT
from dev.stack import Stack

# One of each program: the workers differ in their queues alone.
SERVICES = ("web", "worker", "beat")


def environ(folder: Path) -> dict[str, str]:
    return {"METRICS_FOLDER": "", "RUNTIME_FOLDER": str(folder)}


@pytest.mark.parametrize("name", SERVICES)
def test_a_folder_open_to_others_stops_the_start_with_a_sentence(
    services: Services, tmp_path: Path, name: str
) -> None:
    process = Stack(tmp_path, os.environ)[name]
    (tmp_path / "run").mkdir()
    metrics = tmp_path / "run" / f"metrics-{process.environ['PORT']}"
    metrics.mkdir()
    metrics.chmod(0o777)
    process.environ = {**process.environ, **environ(tmp_path / "run")}
    process.start()
    try:
        assert process.exit_code(60) not in (0, None)
    finally:
        process.kill()
    [line] = [text for text in process.log.read_text().splitlines() if "cannot start" in text]
    assert line == (
        f"Flashbid cannot start: Other users may write to {metrics}. "
        f"Close it with: chmod 700 {metrics}"
    )


def test_a_command_leaves_the_folder_to_the_services(services: Services, tmp_path: Path) -> None:
    """As root before they first start, it would otherwise shut them out."""
    unknown = "00000000-0000-0000-0000-000000000000"
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "flask", "--app", "web", "rebuild", unknown],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environ(tmp_path / "run")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert not (tmp_path / "run").exists()
