"""What a process of ours writes to standard error: JSON lines alone, whoever speaks, and few."""

import json
import subprocess
import sys
from typing import Any

import pytest

from core.config import PROJECT_ROOT
from core.telemetry.repeats import LINES, TRACEBACKS

PREPARED = """
import logging, os, sys, threading, time, warnings
import structlog
from core.telemetry.logs import configure_logs, log_everything, unbounded, write_line
configure_logs(debug=False)
log_everything()
log = structlog.get_logger("ours")
library = logging.getLogger("a.library")
"""


def lines_of(program: str) -> list[dict[str, Any]]:
    """The log of a process that does this; each line must be an object."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PREPARED + program],
        cwd=PROJECT_ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(isinstance(line, dict) for line in lines)
    return lines


SPEAKERS = {
    "ours": ('log.error("it_failed", exc_info=ValueError("a\\nb"))', "it_failed"),
    "a library": ('library.error("it failed:\\n%s", "on two lines")', "it failed:\non two lines"),
    "a warning": ('warnings.warn("soon gone\\nindeed", stacklevel=1)', "UserWarning"),
    "an error that nobody catches": ('raise ValueError("a\\nb")', "uncaught_error"),
    "a thread's error": (
        "thread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()",
        "uncaught_error",
    ),
    "a destructor's error": (
        "class Broken:\n    def __del__(self):\n        raise ValueError\nBroken()",
        "uncaught_error",
    ),
    "a line that cannot be formatted": ('library.error("%d", "no number")', "log_line_failed"),
    "a signal's handler": ('write_line("worker: Warm\\nshutdown")', "worker: Warm\nshutdown"),
    "text that is no UTF-8": ('log.error("odd", text="\\udcff")', "odd"),
}


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_every_line_is_json(speaker: str) -> None:
    program, event = SPEAKERS[speaker]
    [line] = lines_of(program)
    assert event in line["event"]


def test_a_traceback_is_part_of_its_line() -> None:
    [line] = lines_of('raise ValueError("it failed")')
    assert line["exception"].splitlines()[-1] == "ValueError: it failed"
    assert line["level"] == "critical"


FLOODS = {
    "ours": ("for n in range(3000): log.info('request', outcome='full', n=n)", "request", LINES),
    "a library": ("for n in range(3000): library.error('it broke %s', n)", "it broke", LINES),
    "a library's line made before": (
        "for n in range(3000): library.error('it broke ' + str(n))",
        "it broke",
        LINES,
    ),
    "tracebacks": (
        "for n in range(3000): log.error('it_failed', exc_info=ValueError(n))",
        "it_failed",
        TRACEBACKS,
    ),
    "a library's tracebacks": (
        "for n in range(3000): library.error('it broke', exc_info=ValueError(n))",
        "it broke",
        TRACEBACKS,
    ),
    "warnings": (
        "warnings.simplefilter('always')\nfor n in range(3000): warnings.warn(str(n))",
        "UserWarning",
        LINES,
    ),
}


@pytest.mark.parametrize("speaker", FLOODS)
def test_a_flood_is_bounded_and_what_was_left_out_is_counted(speaker: str) -> None:
    program, event, allowance = FLOODS[speaker]
    timed = f"began = time.monotonic()\n{program}\nlog.info('took', s=time.monotonic() - began)"
    lines = lines_of(timed)
    [seconds] = [line["s"] for line in lines if line["event"] == "took"]
    written = [line for line in lines if event in line["event"]]
    left_out = [line["count"] for line in lines if line["event"] == "lines_left_out"]
    assert len(written) + sum(left_out) == 3000
    assert len(written) <= allowance.burst + allowance.per_second * seconds + 1


def test_lines_that_an_operator_asked_for_are_all_written() -> None:
    lines = lines_of("for n in range(1000): unbounded(log).info('request', outcome='ok', n=n)")
    assert [line["n"] for line in lines] == list(range(1000))


def test_a_flood_of_one_outcome_hides_no_other() -> None:
    lines = lines_of(
        "for n in range(3000): log.info('request', outcome='full', status=503)\n"
        "log.info('request', outcome='internal_error', status=500)"
    )
    assert [line["status"] for line in lines if line.get("outcome") == "internal_error"] == [500]
    [left_out] = [line for line in lines if line["event"] == "lines_left_out"]
    assert left_out["of"] == "request full 503"
