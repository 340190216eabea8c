"""Log lines that others can cause at will, bounded in number."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class BoundedLog:
    """Logs at most `lines` of each event in a window of `seconds`. Safe in threads.

    The first line after the bound was reached says in `left_out` how many were not written.
    """

    def __init__(
        self, *, lines: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lines, self._seconds, self._clock = lines, seconds, clock
        self._windows: dict[str, _Window] = {}
        self._lock = Lock()

    def warning(self, event: str, **fields: Any) -> None:
        """Log the event, unless its window is full. `event` is a constant."""
        with self._lock:
            left_out = self._count(event)
        if left_out is not None:
            log.warning(event, **fields, **({"left_out": left_out} if left_out else {}))

    def _count(self, event: str) -> int | None:
        """The lines left out since the last one; None when this one is left out, too."""
        now = self._clock()
        window = self._windows.setdefault(event, _Window(now))
        if now - window.began_at >= self._seconds:
            window.began_at, window.written = now, 0
        if window.written >= self._lines:
            window.left_out += 1
            return None
        window.written += 1
        left_out, window.left_out = window.left_out, 0
        return left_out


class _Window:
    """The lines of one event since `began_at`, in seconds."""

    __slots__ = ("began_at", "left_out", "written")

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.written = self.left_out = 0
