"""Pages of final results as bytes: they never change, and at the close everybody asks for one.

Each page names all winners, so it is bytes that are counted here, not pages.
"""

from collections import OrderedDict
from threading import Lock
from uuid import UUID

from core.sessions.results import Results
from web.http import schemas
from web.http.answers import encode

_MAX_BYTES = 16 * 1024 * 1024
_SCHEMA = schemas.Results()

Key = tuple[UUID, int, int]


class ResultsPages:
    """Keeps the pages that were asked for last. A refusal is not kept: it is soon over."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._size_bytes = 0
        self._mutex = Lock()

    def page(self, session_id: UUID, *, page: int, page_size: int) -> bytes:
        """A page's JSON. Raises SessionNotFound, and what Results.get does before they stand."""
        key = (session_id, page, page_size)
        with self._mutex:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self._results.get(session_id, page=page, page_size=page_size)
        text = encode(_SCHEMA.dump(found))
        self._keep(key, text)
        return text

    def _keep(self, key: Key, text: bytes) -> None:
        """Keep it in the place of the oldest; one that is larger than all the room is not kept."""
        with self._mutex:
            self._size_bytes += len(text) - len(self._kept.pop(key, b""))
            self._kept[key] = text
            while self._size_bytes > _MAX_BYTES:
                _, oldest = self._kept.popitem(last=False)
                self._size_bytes -= len(oldest)
