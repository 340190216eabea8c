"""Progress output: one line that is rewritten on a terminal, results only elsewhere."""

import sys
import time
from typing import Self, TextIO

# Return to the start of the line and clear it.
_CLEAR_LINE = "\r\x1b[K"
_WIDTH = 100


class DrillProgress:
    """Shows the phase of the current round on terminals, and results everywhere."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._title = ""
        self._began_at = time.monotonic()

    def start_round(self, title: str) -> None:
        """Restart the timer under a new title."""
        self._title = title
        self._began_at = time.monotonic()

    def show_phase(self, phase: str) -> None:
        """Show the current phase; call it repeatedly to update the time."""
        if self._is_terminal:
            seconds = time.monotonic() - self._began_at
            line = f"{self._title}: {phase} ({seconds:.0f} s)"
            self._stream.write(f"{_CLEAR_LINE}{line[:_WIDTH]}")
            self._stream.flush()

    def print_line(self, line: str) -> None:
        """Print a permanent line."""
        self._clear()
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def _clear(self) -> None:
        if self._is_terminal:
            self._stream.write(_CLEAR_LINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
