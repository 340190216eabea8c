"""The bench itself, as small and as short as it goes: does it run, and does it add up?"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.config import PROJECT_ROOT
from dev.bench.options import parse

QUICK = ("--quick", "--rounds", "1", "--seconds", "1")
NO_WRK = "wrk is not installed: our own generator sends the load."
# What it calls beside its own programs.
CALLED = ("git", "sh")


def bench(folder: Path, path: str, *measures: str) -> tuple[str, dict[str, Any]]:
    """What it said, and its figures. A count that does not agree would be an error."""
    report = folder / "bench.json"
    only = [argument for measure in measures for argument in ("--only", measure)]
    run = subprocess.run(  # noqa: S603 - the project's own command
        [sys.executable, "-m", "dev.bench", *QUICK, *only, "--json", str(report)],
        check=False,
        cwd=PROJECT_ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(report.read_text())
    assert found["failures"] == []
    assert [measure["name"] for measure in found["measures"]] == list(measures)
    assert [measure["ratio"]["count"] for measure in found["measures"]] == [1] * len(measures)
    assert all(measure["name"] in run.stdout for measure in found["measures"])
    return run.stdout, found


def test_it_measures_with_wrk_where_that_is_installed(tmp_path: Path) -> None:
    said, found = bench(tmp_path, os.environ["PATH"], "bids-to-echo", "close-to-sql")
    generator = "wrk" if shutil.which("wrk") else "dev.bench.sockets"
    assert found["environment"]["generator"].startswith(generator)
    assert (NO_WRK in said) == (generator != "wrk")


def test_without_wrk_it_measures_with_its_own_generator_and_says_so(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in CALLED:
        (programs / name).symlink_to(str(shutil.which(name)))
    said, found = bench(tmp_path, str(programs), "metrics-to-none")
    assert found["environment"]["generator"] == "dev.bench.sockets"
    assert NO_WRK in said


def test_the_rounds_are_those_of_every_measure() -> None:
    assert parse([]).rounds == 5
    assert parse(["--rounds", "10"]).rounds == 10
    assert not any("rounds" in name for name in set(parse([]).__slots__) - {"rounds"})
