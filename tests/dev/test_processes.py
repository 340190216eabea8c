"""The process keeper of `make run` starts again what had worked, and nothing else."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import processes
from dev.processes import Processes, Terminal

TIMEOUT_SECONDS = 20.0


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Processes]:
    keeper = Processes(os.environ, Terminal(), tmp_path / "processes.json")
    yield keeper
    keeper.stop(hurry=lambda: True)


def starts(tmp_path: Path) -> int:
    log = tmp_path / "starts"
    return log.read_text().count("started") if log.exists() else 0


def ending_after(seconds: float, tmp_path: Path) -> str:
    return f"sh -c 'echo started >> {tmp_path}/starts; sleep {seconds}; exit 3'"


def test_a_process_that_had_worked_is_started_again(
    keeper: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "REVIVED_AFTER_SECONDS", 0.1)
    give_up_at = time.monotonic() + TIMEOUT_SECONDS
    keeper.start("steady", "sleep 60")
    keeper.start("worker", ending_after(0.3, tmp_path))
    ended = keeper.wait(
        unless=lambda: starts(tmp_path) >= 3 or time.monotonic() > give_up_at, revives=True
    )
    assert ended is None
    assert starts(tmp_path) >= 3


@pytest.mark.parametrize(("revives", "seconds"), [(True, 0), (False, 0.3)])
def test_one_that_ends_at_once_or_is_not_to_be_revived_ends_the_wait(
    keeper: Processes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    revives: bool,
    seconds: float,
) -> None:
    monkeypatch.setattr(processes, "REVIVED_AFTER_SECONDS", 10.0 if revives else 0.1)
    keeper.start("worker", ending_after(seconds, tmp_path))
    assert keeper.wait(unless=lambda: False, revives=revives) == ("worker", 3)
    assert starts(tmp_path) == 1
