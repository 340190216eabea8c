"""Where a drill is: one line that is rewritten on a terminal, whole lines elsewhere."""

import sys
import time
from typing import Self, TextIO

# Back to the line's begin, and delete to its end.
_REWRITE = "\r\x1b[K"
_WIDTH = 100


class Progress:
    """Says what one fault's rounds are at. Phases are for terminals; results for everybody."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._title = ""
        self._began_at = time.monotonic()

    def begin(self, title: str) -> None:
        """A new round."""
        self._title = title
        self._began_at = time.monotonic()

    def phase(self, words: str) -> None:
        """What happens now; call it as often as it may have changed."""
        if self._is_terminal:
            seconds = time.monotonic() - self._began_at
            line = f"{self._title}: {words} ({seconds:.0f} s)"
            self._stream.write(f"{_REWRITE}{line[:_WIDTH]}")
            self._stream.flush()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._clear()
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def _clear(self) -> None:
        if self._is_terminal:
            self._stream.write(_REWRITE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
