"""Stop signals: the first requests a graceful stop, the second an immediate one."""

import signal
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from types import FrameType

import psutil

from dev.embedded.server import has_ended

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MAKE_SIGNALS = (*STOP_SIGNALS, signal.SIGQUIT)
_MAKES = {"make", "gmake", "gnumake"}


class StopSignals:
    """Counts Ctrl-C, SIGTERM and SIGHUP without interrupting the program."""

    def __init__(self) -> None:
        self._count = 0
        self._makes = _makes()
        for signum in STOP_SIGNALS:
            if not _is_nohup(signum):
                signal.signal(signum, self._receive)

    def _receive(self, _signum: int, _frame: FrameType | None) -> None:
        self._count += 1

    def stop_requested(self) -> bool:
        return self._count > 0 or any(make.has_stopped() for make in self._makes)

    def force_requested(self) -> bool:
        return self._count > 1


class _Make:
    """A `make` among our parents.

    It passes on SIGTERM alone; of other signals it assumes that the terminal sends them to all.
    It then waits for us, with the signal's handler reset, as /proc shows.
    """

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._handled = self._handles()

    def has_stopped(self) -> bool:
        """Whether it has ended or received such a signal."""
        return has_ended(self._process) or self._handles() != self._handled

    def _handles(self) -> list[bool]:
        """Whether each signal has a handler; without /proc always the same."""
        with suppress(OSError, StopIteration):
            status = Path(f"/proc/{self._process.pid}/status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
            handled = int(line.split()[1], 16)
            return [bool(handled >> (number - 1) & 1) for number in _MAKE_SIGNALS]
        return []


def _makes() -> list[_Make]:
    """The `make` that runs us, and the one that runs that."""
    with suppress(psutil.Error):
        parents = psutil.Process().parents()
        return [_Make(make) for make in takewhile(lambda parent: parent.name() in _MAKES, parents)]
    return []


def _is_nohup(signum: signal.Signals) -> bool:
    """Whether SIGHUP is ignored because we were started with nohup."""
    return signum == signal.SIGHUP and signal.getsignal(signum) == signal.SIG_IGN
