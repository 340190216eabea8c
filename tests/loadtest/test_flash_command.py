"""What `flash` says of itself at its end."""

import pytest

from loadtest.flash import command_line, exit_code
from loadtest.ledger.verify import Finding, Verdict
from loadtest.report.report import render
from tests.loadtest.reports import run

SECRET = "a secret of the admin's"
STOPPED = "The sale was stopped early."
DIFFERS = Verdict("an-id", [Finding("a rule", 1, ["bid 1 is lost"])])


@pytest.mark.parametrize(
    "given",
    [
        ["--admin-password", SECRET],
        ["--admin-token", SECRET],
        [f"--admin-password={SECRET}"],
        [f"--admin-token={SECRET}"],
        ["--admin-pass", SECRET],
        [f"--admin-t={SECRET}"],
    ],
)
def test_no_report_shows_how_to_log_in(given: list[str]) -> None:
    command = command_line(["flash", "--admin-name", "boss", *given, "--members", "20"])
    assert SECRET not in command
    assert SECRET not in render(run(command=command))
    assert command.startswith("python -m loadtest flash --admin-name boss --admin-")
    assert command.endswith("HIDDEN --members 20")


def test_a_run_that_did_all_its_work_ends_well() -> None:
    assert exit_code(run(), stopped=False) == 0


def test_a_stop_that_was_asked_for_ends_well() -> None:
    assert exit_code(run(warning=STOPPED), stopped=True) == 0


def test_a_generator_that_failed_is_an_error() -> None:
    assert exit_code(run(warning="1 of 2 generators failed; see a log."), stopped=False) == 1


@pytest.mark.parametrize("stopped", [False, True])
def test_books_that_differ_are_an_error(stopped: bool) -> None:
    assert exit_code(run(verdict=DIFFERS, warning=STOPPED), stopped=stopped) == 1
