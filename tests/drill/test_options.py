"""The drill's command line and its table."""

import pytest

from drill.__main__ import main
from drill.faults import FAULTS
from drill.rounds import Outcome
from drill.table import table


def test_every_fault_is_listed_with_its_control(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [
        [fault.name, fault.control or "none"] for fault in FAULTS
    ]


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--fault", "moonquake"])
    assert ended.value.code == 2
    assert "moonquake" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome(acknowledged=1000), "holds"),
        (Outcome(lost=1, duplicated=1), "LOST"),
        (Outcome(duplicated=1), "DUPLICATED"),
        (Outcome(trouble=("2 winners for 1 item",)), "FAILED"),
    ],
)
def test_verdict(outcome: Outcome, verdict: str) -> None:
    assert outcome.verdict == verdict


def test_the_table_adds_rounds_up_and_shows_the_slowest_recovery() -> None:
    rounds = [
        Outcome(acknowledged=1000, refused=3, recovery_seconds=0.5),
        Outcome(acknowledged=1200, lost=2, reported=7, recovery_seconds=4.25),
    ]
    line = list(table([(FAULTS[0], rounds)]))[1]
    assert line.split() == [
        *(FAULTS[0].name, "2", "2200", "2", "7", "0", "3"),
        *("4.2", "LOST", "holds"),
    ]
