"""What watchers see: which frames, when, and what becomes of their connections.

A frame is the board at its `server_time`, and so shows every bid accepted by then. Each
watcher's frames are noted as how long after that moment they came, and after which earlier
frame; `lags` makes of it how long a bid takes until it is seen.
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
    """Those of one process, since they were last written.

    `ahead` is by how many seconds the server's clock is ahead of this machine's.
    """

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead
        self._seen: dict[tuple[float, float], Counter[int]] = {}
        # One clock for all moments: the wall's at the start, then one that never jumps.
        self._clock_start = time.time() - time.perf_counter()
        self.counts: Counter[str] = Counter()
        self.watching = 0

    def note(self, after: float, shown: float) -> float:
        """A watcher sees the board of the moment `shown`, and last saw that of `after`.

        How many milliseconds old it is.
        """
        age_ms = (self._clock_start + time.perf_counter() + self._ahead - shown) * 1000
        self._seen.setdefault((after, shown), Counter())[round(age_ms)] += 1
        self.counts["frames"] += 1
        return age_ms

    def write(self, book: Ledger) -> None:
        """Keep them in the ledger, and begin anew."""
        counts = {name: self.counts[name] for name in CROWD_COUNTS}
        book.crowd(at=time.time(), watching=self.watching, **counts)
        for (after, shown), delays in self._seen.items():
            book.seen(after, shown, delays)
        self._seen.clear()
        self.counts.clear()


class View:
    """What one watcher has seen so far, over all its connections."""

    def __init__(self, sightings: Sightings) -> None:
        self._sightings = sightings
        self._last = 0.0
        self.has_seen_the_end = False

    def see(self, frame: bytes) -> float | None:
        """Note a frame, without reading more of it than needed.

        How many milliseconds old it is; None for the first one, and for one that is no board.
        """
        if _ENDED.match(frame):
            self.has_seen_the_end = True
            return None
        found = _SERVER_TIME.search(frame, max(0, frame.rfind(_SERVER_TIME_KEY)))
        if not found:
            return None
        after, self._last = self._last, _moment(found[1])
        return self._sightings.note(after, self._last) if after else None


@lru_cache(maxsize=64)
def _moment(text: bytes) -> float:
    """Seconds since 1970. All watchers see the same few."""
    return datetime.fromisoformat(text.decode()).timestamp()
