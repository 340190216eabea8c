"""The figures of a run for programs agree with each other, and two runs can be compared."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtest.__main__ import main
from loadtest.ledger import figures
from loadtest.ledger.ledger import LedgerContents
from loadtest.report import numbers
from loadtest.report.compare import compare
from tests.loadtest.bids import attempt
from tests.loadtest.reports import run

START = 1000.0


def written(folder: Path, **fields: Any) -> Path:
    folder.mkdir()
    numbers.write(run(**fields), folder)
    return folder


def test_the_files_add_up(tmp_path: Path) -> None:
    folder = written(tmp_path / "run")
    total = json.loads((folder / numbers.FIGURES).read_text())
    with (folder / numbers.SECONDS).open() as file:
        rows = list(csv.DictReader(file))
    for name, whole in (("offered", "requests"), ("accepted", "accepted")):
        assert sum(int(row[name]) for row in rows) == total[whole]
    assert sum(total["kinds"].values()) == total["requests"] == 402
    assert max(int(row["accepted"]) for row in rows) == total["best_second"]
    assert total["errors"] == 1


def test_the_seconds_of_a_run_agree_with_its_totals() -> None:
    attempts = run().recorded.attempts
    assert numbers.agreement(attempts, START).count == 0
    assert numbers.agreement([], START).count == 0


@pytest.mark.parametrize("field", ["offered", "achieved"])
def test_a_second_that_is_miscounted_is_found(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = figures.seconds

    def miscounted(*arguments: Any) -> list[figures.Second]:
        first, *rest = counted(*arguments)
        return [replace(first, **{field: getattr(first, field) + 1}), *rest]

    monkeypatch.setattr(figures, "seconds", miscounted)
    found = numbers.agreement(run().recorded.attempts, START)
    assert found.count == len(found.differences) == 1


def test_a_sale_without_a_bid_has_figures(tmp_path: Path) -> None:
    folder = written(tmp_path / "run", recorded=LedgerContents(), service_samples=[])
    total = json.loads((folder / numbers.FIGURES).read_text())
    assert total["requests"] == 0
    assert total["latency_ms"]["p50"] is None


def test_two_runs_are_shown_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(tmp_path / "before")
    slow = [attempt(intended_at=START + n / 10, latency_ms=80) for n in range(200)]
    after = written(
        tmp_path / "after",
        recorded=LedgerContents(runs=[{"mode": "open"}], attempts=slow),
        environment={"CPU": "another", "Python": "3"},
    )
    assert main(["compare", str(before), str(after / numbers.FIGURES)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "! CPU: a <fast> one, another"
    assert ["accepted", "400", "200", "0.50"] in [line.split() for line in lines]
    assert next(line for line in lines if line.startswith("p50")).split()[3] == "80"


def test_runs_of_one_set_up_differ_in_nothing(tmp_path: Path) -> None:
    places = [written(tmp_path / name) for name in ("before", "after")]
    lines = compare(places[0], places[1])
    assert not [line for line in lines if line.startswith("!")]
    assert all(line.split()[-1] in {"1.00", "0", "ratio"} for line in lines)


@pytest.mark.parametrize("text", ["", "[]", "{}", "x"])
def test_what_has_no_figures_is_named(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / numbers.FIGURES).write_text(text)
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 1
    assert "has no figures of a run" in capsys.readouterr().err
