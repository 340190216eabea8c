"""Encoded pages of final results: after the close everybody requests one, and they never change,
but for the name of a member that is erased.

Each page lists all winners, so the cache is limited by bytes, not by pages.
"""

import time
from collections import OrderedDict
from threading import Lock
from uuid import UUID

from core.sessions.results import Results
from web.http import schemas
from web.http.responses import encode

_MAX_BYTES = 16 * 1024 * 1024
# How long a page may still show the name of an erased member.
_MAX_AGE_SECONDS = 60.0
_SCHEMA = schemas.Results()

Key = tuple[UUID, int, int]


class ResultsPages:
    """Caches the most recently requested pages. Refusals are not cached: they end soon."""

    def __init__(self, results: Results, *, max_age_seconds: float = _MAX_AGE_SECONDS) -> None:
        self._results = results
        self._max_age_seconds = max_age_seconds
        self._cache: OrderedDict[Key, tuple[bytes, float]] = OrderedDict()
        self._size_bytes = 0
        self._mutex = Lock()

    def page(self, session_id: UUID, *, page: int, page_size: int) -> bytes:
        """A page's JSON. Raises like Results.get."""
        key = (session_id, page, page_size)
        with self._mutex:
            text, read_at = self._cache.get(key, (b"", 0.0))
            if text and time.monotonic() - read_at < self._max_age_seconds:
                self._cache.move_to_end(key)
                return text
        found = self._results.get(session_id, page=page, page_size=page_size)
        text = encode(_SCHEMA.dump(found))
        self._store(key, text)
        return text

    def _store(self, key: Key, text: bytes) -> None:
        """Cache a page in place of the oldest; a page larger than the cache is dropped again."""
        with self._mutex:
            self._size_bytes += len(text) - len(self._cache.pop(key, (b"", 0.0))[0])
            self._cache[key] = text, time.monotonic()
            while self._size_bytes > _MAX_BYTES:
                _, (oldest, _) = self._cache.popitem(last=False)
                self._size_bytes -= len(oldest)
