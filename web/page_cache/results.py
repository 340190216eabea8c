"""Encoded final results: after the close everybody requests them, and they never change, but for
the name of a member that is erased and the price of a successor.

The winners of a session are a document of their own, made once: thousands of them are too many
to be read, encoded and kept again for each page. The first page includes it; other pages hold
only the winners among their own ranks.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from uuid import UUID

from core.sessions.results import RankedEntry, Results
from web.http import schemas
from web.http.buckets import Buckets
from web.http.responses import encode
from web.page_cache.board import entry_of, number

_MAX_BYTES = 16 * 1024 * 1024
# How long a page may still show the name of an erased member.
_MAX_AGE_SECONDS = 60.0
_HEAD = schemas.Results(exclude=("winners", "rankings", "page", "page_size", "total_pages"))

Key = tuple[UUID, int, int]
# In the place of a page: the winners.
_ALL_WINNERS = (0, 0)
# Likewise: all ranks as CSV.
_ALL_RANKS = (0, 1)


@dataclass(frozen=True, slots=True)
class CachedText:
    """A document in two parts, between which a page has its winners."""

    head: bytes
    tail: bytes = b""

    def __len__(self) -> int:
        return len(self.head) + len(self.tail)

    def with_winners(self, winners: bytes) -> bytes:
        return b'%b,"winners":%b,%b' % (self.head, winners, self.tail)


_NOTHING = CachedText(b"")


class ResultsPages:
    """Caches the most recently requested pages. Refusals are not cached: they end soon."""

    def __init__(
        self, results: Results, misses: Buckets, *, max_age_seconds: float = _MAX_AGE_SECONDS
    ) -> None:
        self._results, self._misses = results, misses
        self._max_age_seconds = max_age_seconds
        self._cache: OrderedDict[Key, tuple[CachedText, float]] = OrderedDict()
        self._size_bytes = 0
        self._mutex, self._making = Lock(), Lock()

    def page(self, session_id: UUID, *, page: int, page_size: int, reader: str) -> bytes:
        """A page's JSON. Raises like Results.get, and TooMany for a reader of too many pages
        that are not cached.
        """
        key = (session_id, page, page_size)
        if page == 1:
            first = self._cached_or_made(key, self._make_page)
            return first.with_winners(self._winners(session_id))
        if (cached := self._get(key)) is None:
            self._misses.require(reader)
            cached = self._cached_or_made(key, self._make_page)
            self._misses.take(reader)
        return cached.head

    def csv(self, session_id: UUID, make: Callable[[UUID], bytes], *, reader: str) -> bytes:
        """All ranks as `make` writes them. Raises like it, and TooMany as for a page."""
        key = (session_id, *_ALL_RANKS)
        if (cached := self._get(key)) is None:
            self._misses.require(reader)
            cached = self._cached_or_made(key, lambda _: CachedText(make(session_id)))
            self._misses.take(reader)
        return cached.head

    def winners_only(self, session_id: UUID) -> bytes:
        """The results without ranks. Raises like Results.get."""
        first = self._cached_or_made((session_id, 1, 1), self._make_page)
        return b'%b,"winners":%b}' % (first.head, self._winners(session_id))

    def _winners(self, session_id: UUID) -> bytes:
        return self._cached_or_made((session_id, *_ALL_WINNERS), self._make_winners).head

    def _make_winners(self, key: Key) -> CachedText:
        return CachedText(_encode_entries(self._results.winners(key[0])))

    def _make_page(self, key: Key) -> CachedText:
        session_id, page, page_size = key
        found = self._results.get(session_id, page=page, page_size=page_size)
        rest = {"page": found.page, "page_size": found.page_size, "total_pages": found.total_pages}
        tail = b'"rankings":%b,%b' % (_encode_entries(found.rankings), encode(rest)[1:])
        made = CachedText(encode(_HEAD.dump(found))[:-1], tail)
        if page == 1:
            return made
        return CachedText(made.with_winners(_encode_entries(found.winners)))

    def _cached_or_made(self, key: Key, make: Callable[[Key], CachedText]) -> CachedText:
        """One thread makes what is not cached; others wait for it."""
        cached = self._get(key)
        if cached is not None:
            return cached
        with self._making:
            cached = self._get(key)
            if cached is None:
                cached = make(key)
                self._store(key, cached)
            return cached

    def _get(self, key: Key) -> CachedText | None:
        with self._mutex:
            text, read_at = self._cache.get(key, (_NOTHING, 0.0))
            if text and time.monotonic() - read_at < self._max_age_seconds:
                self._cache.move_to_end(key)
                return text
            return None

    def _store(self, key: Key, text: CachedText) -> None:
        """Cache a text in place of the oldest; one larger than the cache is dropped again."""
        with self._mutex:
            self._size_bytes += len(text) - len(self._cache.pop(key, (_NOTHING, 0.0))[0])
            self._cache[key] = text, time.monotonic()
            while self._size_bytes > _MAX_BYTES:
                _, (oldest, _) = self._cache.popitem(last=False)
                self._size_bytes -= len(oldest)


def _encode_entries(entries: Iterable[RankedEntry]) -> bytes:
    return encode(
        [{**entry_of(entry), "price_to_pay": number(entry.price_to_pay)} for entry in entries]
    )
