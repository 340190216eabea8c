"""Records the frames that watchers receive, and their connections.

A frame is the board at its `server_time` and shows every bid accepted by then. For each frame,
its delay and the preceding frame are recorded; `lags` computes from them how long bids take to
be seen.
"""

import re
import time
from collections import Counter
from datetime import datetime
from functools import lru_cache

from loadtest.ledger.ledger import CROWD_COUNTS, Ledger

_SERVER_TIME_KEY = b'"server_time"'
_SERVER_TIME = re.compile(_SERVER_TIME_KEY + rb'\s*:\s*"([^"]+)"')
_ENDED = re.compile(rb'\{\s*"type"\s*:\s*"session_ended"')


class Sightings:
    """Frames seen by one process since the last write.

    `ahead`: seconds by which the server's clock is ahead of this machine's.
    """

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead
        self._seen: dict[tuple[float, float], Counter[int]] = {}
        # Wall-clock time at the start, advanced by a monotonic clock.
        self._clock_start = time.time() - time.perf_counter()
        self.counts: Counter[str] = Counter()
        self.watching = 0

    def note(self, after: float, shown: float) -> float:
        """Record that a watcher saw the board of `shown`, and before it that of `after`.

        Returns the frame's age in milliseconds.
        """
        age_ms = (self._clock_start + time.perf_counter() + self._ahead - shown) * 1000
        self._seen.setdefault((after, shown), Counter())[round(age_ms)] += 1
        self.counts["frames"] += 1
        return age_ms

    def write(self, book: Ledger) -> None:
        """Write the records to the ledger and reset them."""
        counts = {name: self.counts[name] for name in CROWD_COUNTS}
        book.crowd(at=time.time(), watching=self.watching, **counts)
        for (after, shown), delays in self._seen.items():
            book.seen(after, shown, delays)
        self._seen.clear()
        self.counts.clear()


class View:
    """The last frame seen by one watcher, over all its connections."""

    def __init__(self, sightings: Sightings) -> None:
        self._sightings = sightings
        self._last = 0.0
        self.session_has_ended = False

    def see(self, frame: bytes) -> float | None:
        """Record a frame, parsing as little of it as possible.

        Returns its age in milliseconds; None for the first frame and for other messages.
        """
        if _ENDED.match(frame):
            self.session_has_ended = True
            return None
        found = _SERVER_TIME.search(frame, max(0, frame.rfind(_SERVER_TIME_KEY)))
        if not found:
            return None
        after, self._last = self._last, _moment(found[1])
        return self._sightings.note(after, self._last) if after else None


@lru_cache(maxsize=64)
def _moment(text: bytes) -> float:
    """Seconds since 1970. Cached because all watchers see the same frames."""
    return datetime.fromisoformat(text.decode()).timestamp()
