"""The drill's command line and its table."""

import pytest

from drill.__main__ import bad_rounds, main
from drill.faults.faults import FAULTS
from drill.judge import RoundOutcome
from drill.table import table


def test_every_fault_is_listed_with_its_control(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[:2] for line in lines[::2]] == [
        [fault.name, fault.control.name] for fault in FAULTS
    ]


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--fault", "moonquake"])
    assert ended.value.code == 2
    assert "moonquake" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--rounds", "--bids", "--seed"])
@pytest.mark.parametrize("number", ["nan", "inf", "-1", "1e999", "1.5", "", "9" * 5000])
def test_a_number_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], option: str, number: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"{option}={number}", "--list"])
    assert ended.value.code == 2
    assert f"{option}: must be a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--rounds", "--bids"])
def test_no_rounds_and_no_bids_are_refused(capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit):
        main([option, "0", "--list"])
    assert f"{option}: must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (RoundOutcome(acknowledged=1000), "holds"),
        (RoundOutcome(lost=1, duplicated=1), "LOST"),
        (RoundOutcome(duplicated=1), "DUPLICATED"),
        (RoundOutcome(oversold=1, problems=("2 winners for 1 item",)), "OVERSOLD"),
        (RoundOutcome(problems=("No bid was accepted for 4.0 s.",)), "FAILED"),
        (RoundOutcome(problems=("mount is not installed",), was_run=False), "NOT RUN"),
    ],
)
def test_verdict(outcome: RoundOutcome, verdict: str) -> None:
    assert outcome.verdict == verdict


def test_the_table_adds_rounds_up_and_shows_the_slowest_recovery() -> None:
    rounds = [
        RoundOutcome(acknowledged=1000, refused=3, recovery_seconds=0.5, pause_seconds=1.0),
        RoundOutcome(acknowledged=1200, lost=2, reported=7, oversold=1, recovery_seconds=4.25),
    ]
    line = list(table([(FAULTS[0], rounds)]))[1]
    assert line.split() == [
        *(FAULTS[0].name, "2", "2200", "2", "7", "0", "1", "3"),
        *("1.0", "4.2", "LOST", "holds"),
    ]


@pytest.mark.parametrize(
    ("verdict", "as_control", "is_bad"),
    [
        (RoundOutcome(), False, False),
        (RoundOutcome(lost=1), False, True),
        (RoundOutcome(was_run=False), False, True),
        (RoundOutcome(), True, True),
        (RoundOutcome(lost=1), True, False),
        (RoundOutcome(was_run=False), True, True),
    ],
)
def test_a_control_round_must_do_harm_and_any_other_must_not(
    verdict: RoundOutcome, as_control: bool, is_bad: bool
) -> None:
    assert bool(list(bad_rounds({FAULTS[0]: [verdict]}, as_control=as_control))) is is_bad
