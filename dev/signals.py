"""Ctrl-C, SIGTERM and a closed terminal: one asks for a graceful stop, a second one for haste."""

import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Counts the signals. Nothing is interrupted by them, so nothing is left half done."""

    def __init__(self) -> None:
        self._count = 0
        for signum in STOP_SIGNALS:
            if not _is_nohup(signum):
                signal.signal(signum, self._receive)

    def _receive(self, _signum: int, _frame: FrameType | None) -> None:
        self._count += 1

    def stop_asked(self) -> bool:
        return self._count > 0

    def haste_asked(self) -> bool:
        return self._count > 1


def _is_nohup(signum: signal.Signals) -> bool:
    """Whether we were started to outlive the terminal."""
    return signum == signal.SIGHUP and signal.getsignal(signum) == signal.SIG_IGN
