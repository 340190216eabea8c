"""Repeated log lines are bounded by kind, and those left out are counted."""

import os
from collections.abc import Hashable

import pytest

from core.telemetry.repeats import Allowance, Repeats

FEW = Allowance(burst=3, per_second=0.5)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Told:
    """What was reported, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[Hashable, int]] = []

    def __call__(self, kind: Hashable, count: int) -> None:
        self.lines.append((kind, count))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def repeats(told: Told, clock: Clock) -> Repeats:
    return Repeats(told, clock=clock)


def admitted(repeats: Repeats, lines: int, kind: Hashable = "request") -> int:
    return sum(repeats.admit(kind, FEW) for _ in range(lines))


def test_some_lines_are_written_at_once_and_the_others_counted(
    repeats: Repeats, told: Told
) -> None:
    assert admitted(repeats, 1000) == FEW.burst
    repeats.report()
    assert told.lines == [("request", 997)]


def test_lines_are_written_again_as_time_passes(repeats: Repeats, clock: Clock) -> None:
    admitted(repeats, 10)
    clock.now += 4
    assert admitted(repeats, 10) == 2
    clock.now += 1000
    assert admitted(repeats, 10) == FEW.burst, "what was not used is not saved up"


def test_one_kind_takes_nothing_from_another(repeats: Repeats, told: Told) -> None:
    admitted(repeats, 10, "request")
    assert admitted(repeats, 2, "outage") == 2
    repeats.report()
    assert told.lines == [("request", 7)]


def test_what_was_reported_is_not_reported_again(repeats: Repeats, told: Told) -> None:
    admitted(repeats, 10)
    repeats.report()
    repeats.report()
    assert len(told.lines) == 1


def test_a_kind_for_every_line_does_not_grow_without_bound(repeats: Repeats) -> None:
    for number in range(5000):
        admitted(repeats, 1, number)
    assert len(repeats._kinds) <= 1000


def test_a_forked_process_has_nothing_to_report(repeats: Repeats, told: Told) -> None:
    admitted(repeats, 10)
    child = os.fork()
    if child == 0:
        repeats.report()
        os._exit(len(told.lines))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
