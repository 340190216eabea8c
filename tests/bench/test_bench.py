"""The bench itself, as small and as short as it goes: does it run, and does it add up?"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.config import PROJECT_ROOT
from dev.bench.options import parse
from dev.bench.servers import nginx
from tests.system import copies

QUICK = ("--quick", "--rounds", "1", "--seconds", "1")
NO_WRK = "wrk is not installed; using the bundled generator."
# What it calls beside its own programs.
CALLED = ("git", "sh")


def bench(
    folder: Path,
    path: str,
    measures: Sequence[str],
    *options: str,
    asked: Sequence[str] | None = None,
) -> tuple[str, dict[str, Any]]:
    """What it said, and its figures. A count that does not agree would be an error."""
    report = folder / "bench.json"
    only = [argument for measure in asked or measures for argument in ("--only", measure)]
    run = subprocess.run(  # noqa: S603 - the project's own command
        [sys.executable, "-m", "dev.bench", *QUICK, *only, *options, "--json", str(report)],
        check=False,
        cwd=PROJECT_ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(report.read_text())
    assert found["failures"] == []
    assert {measure["name"] for measure in found["measures"]} == set(measures)
    assert {measure["ratio"]["count"] for measure in found["measures"]} == {1}
    assert all(measure["name"] in run.stdout for measure in found["measures"])
    return run.stdout, found


@pytest.fixture
def path_without_wrk(tmp_path: Path) -> str:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in CALLED:
        (programs / name).symlink_to(str(shutil.which(name)))
    return str(programs)


@pytest.mark.tools
def test_it_measures_with_wrk_and_nginx_where_they_are_installed(tmp_path: Path) -> None:
    always = (
        *("bids-to-echo", "bids-to-asgi-echo", "web-cpu-to-echo", "browser-headers"),
        *("close-to-sql", "close-priced-to-plain", "export-to-copy", "export-memory"),
        *("watchers-to-none", "frame-lag-p99", "watcher-memory"),
    )
    asked, has_nginx = (*always, "nginx-to-keepalive"), nginx.find() is not None
    said, found = bench(tmp_path, os.environ["PATH"], asked if has_nginx else always, asked=asked)
    generator = "wrk" if shutil.which("wrk") else "dev.bench.generators.sockets"
    assert found["environment"]["generator"].startswith(generator)
    assert (NO_WRK in said) == (generator != "wrk")
    assert ("nginx is not installed" in said) is not has_nginx


@pytest.mark.tools
def test_without_wrk_it_measures_with_its_own_generator_and_says_so(
    tmp_path: Path, path_without_wrk: str
) -> None:
    """And one script call for many bids has Redis do less for each."""
    said, found = bench(
        tmp_path, path_without_wrk, ("metrics-to-none", "own-lines", "batches-to-singles")
    )
    assert found["environment"]["generator"] == "dev.bench.generators.sockets"
    assert NO_WRK in said
    series = found["series"]
    commands = [series[f"commands/bid, batches of {size}"] for size in (1, 8, 64)]
    assert commands == sorted(commands, reverse=True)
    assert max(series["bids a call, singles"]) <= 1


@pytest.mark.tools
def test_another_checkout_is_served_by_its_own_processes(
    tmp_path: Path, path_without_wrk: str
) -> None:
    measures = ("bids-to-baseline", "p99-to-baseline", "watched-to-baseline")
    with copies.project() as checkout:
        (checkout / ".venv").symlink_to(sys.prefix)
        said, found = bench(tmp_path, path_without_wrk, measures, "--baseline", str(checkout))
    assert found["environment"]["baseline"] == "unknown"
    assert "baseline, bids/s, round 1 of 1: this" in said


def test_the_rounds_are_those_of_every_measure() -> None:
    assert parse([]).rounds == 5
    assert parse(["--rounds", "10"]).rounds == 10
    assert not any("rounds" in name for name in set(parse([]).__slots__) - {"rounds"})
