"""Stop signals: the first requests a graceful stop, the second an immediate one."""

import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Counts Ctrl-C, SIGTERM and SIGHUP without interrupting the program."""

    def __init__(self) -> None:
        self._count = 0
        for signum in STOP_SIGNALS:
            if not _is_nohup(signum):
                signal.signal(signum, self._receive)

    def _receive(self, _signum: int, _frame: FrameType | None) -> None:
        self._count += 1

    def stop_requested(self) -> bool:
        return self._count > 0

    def force_requested(self) -> bool:
        return self._count > 1


def _is_nohup(signum: signal.Signals) -> bool:
    """Whether SIGHUP is ignored because we were started with nohup."""
    return signum == signal.SIGHUP and signal.getsignal(signum) == signal.SIG_IGN
