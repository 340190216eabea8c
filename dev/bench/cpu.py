"""CPU time of processes including all their children."""

from collections.abc import Mapping
from contextlib import suppress

import psutil


def seconds_of(leader: psutil.Process) -> float:
    """User and system time of a process and its descendants, including ended ones."""
    total = 0.0
    for process in (leader, *leader.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
            total += times.children_user + times.children_system
    return total


class CpuMeter:
    """CPU time used by groups of processes since the meter was created."""

    def __init__(self, leaders: Mapping[str, psutil.Process]) -> None:
        self._leaders = leaders
        self._before = {name: seconds_of(leader) for name, leader in leaders.items()}

    def seconds(self) -> dict[str, float]:
        return {
            name: seconds_of(leader) - self._before[name] for name, leader in self._leaders.items()
        }
