"""Shared by the tests of drain."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.bidlog.drain import Batch, BidLog
from core.bidlog.entries import LoggedBid
from core.bidlog.rewind import PendingBid
from core.redis import clock, keys
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

Fields = dict[str, str]


class CrashError(Exception):
    """The process dies here."""


class DiesBeforeCommit(BidLog):
    def _persist_next(self, db: Session, session_id: UUID, offset: int) -> Batch:
        super()._persist_next(db, session_id, offset)
        db.flush()
        raise CrashError


class DiesBeforeTrim(BidLog):
    def _trim(self, session_id: UUID, handled_through: int) -> None:
        raise CrashError


class LosesItsConnection(BidLog):
    def _checked(self, db: Session, session_id: UUID, due: Sequence[PendingBid]) -> list[LoggedBid]:
        pid = db.scalar(text("SELECT pg_backend_pid()"))
        with self._database.begin() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        return super()._checked(db, session_id, due)


class FindsTheTableLocked(BidLog):
    """COPY runs into a limit of time while another connection holds the table."""

    def _checked(self, db: Session, session_id: UUID, due: Sequence[PendingBid]) -> list[LoggedBid]:
        db.execute(text("SET LOCAL lock_timeout = '20ms'"))
        return super()._checked(db, session_id, due)


def bid_log(shop: Shop, kind: type[BidLog] = BidLog, batch_size: int = 5000) -> BidLog:
    return kind(shop.services.database, shop.services.redis, batch_size=batch_size)


def session_with_bids(shop: Shop, bids: int) -> SessionView:
    session = shop.session()
    for _ in range(bids):
        shop.bid(shop.bidder(), session, "120")
    return session


def log_of(shop: Shop, session: SessionView) -> list[tuple[str, Fields]]:
    return shop.services.redis.xrange(keys.bid_log(session.session_id))


def rewrite_log(shop: Shop, session: SessionView, change: Callable[[str, Fields], Any]) -> None:
    """Write the log anew; `change` gives an entry's fields, nothing to leave it out."""
    entries = log_of(shop, session)
    name = keys.bid_log(session.session_id)
    shop.services.redis.delete(name)
    for entry_id, fields in entries:
        changed = change(entry_id, fields)
        if changed:
            shop.services.redis.xadd(name, changed, id=entry_id)


def promptly(call: Callable[[], Any]) -> Any:
    """What the call returns; an error when it waits for a lock that the test holds."""
    thread = ThreadPoolExecutor(1)
    try:
        return thread.submit(call).result(timeout=60)
    finally:
        thread.shutdown(wait=False)


def sequences(shop: Shop) -> list[int]:
    return [row[0] for row in shop.rows("SELECT sequence FROM bids ORDER BY sequence")]


def offset(shop: Shop) -> int:
    [(persisted,)] = shop.rows("SELECT persisted_sequence FROM bid_log_offsets")
    return persisted


def events(shop: Shop) -> list[tuple[str, dict[str, Any]]]:
    return shop.rows("SELECT kind, details FROM session_events ORDER BY id")  # type: ignore[return-value]


def mark(shop: Shop, session: SessionView) -> int | None:
    name = keys.session_params(session.session_id)
    trusted_until = shop.services.redis.hget(name, "drain_trusted_until")
    return trusted_until and int(trusted_until)


def set_mark(shop: Shop, session: SessionView, seconds_from_now: float) -> None:
    now = clock.to_microseconds(clock.now(shop.services.redis))
    shop.services.redis.hset(
        keys.session_params(session.session_id),
        "drain_trusted_until",
        now + int(seconds_from_now * 1_000_000),
    )
