"""Creates, lists, opens, pauses and ends sessions.

PostgreSQL stores the shop's decisions. The gate in Redis is changed in the same
transaction, with the session's row locked, so that both apply decisions in the same order.
All times follow the Redis server's clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog
from redis import Redis
from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from core import errors, outages
from core.members.idempotency import store_response
from core.postgres.database import Database, page_of
from core.postgres.models import BiddingSession, BidLogOffset, Product
from core.redis import clock, keys, scripts
from core.redis.replication import Replication
from core.redis.scripts import Outcome
from core.rules.images import ImageHosts
from core.rules.lifecycle import Status, status_at
from core.rules.pricing import OrderTerms
from core.rules.scoring import Coefficients, tells_cents, terms_of
from core.rules.weighting import MAX_WEIGHT
from core.sessions.loading import SessionLoader
from core.sessions.selecting import newest, soonest, soonest_ending
from core.sessions.shop_events import Milestone, note

log = structlog.get_logger(__name__)

_NOT_LOADED: tuple[type[Exception], ...] = (
    *outages.REDIS,
    errors.TemporarilyUnavailable,
    errors.SessionEnded,
)
MAX_START_AHEAD = timedelta(days=3660)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms(OrderTerms):
    """The terms of a sale. `start_time` None: at once."""

    duration: timedelta
    start_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView(OrderTerms):
    """A session as clients see it; `status` is the one at the time of reading."""

    allow_lower_bids: bool
    session_id: UUID
    product_id: UUID
    name: str
    description: str | None
    image_url: str | None
    currency: str
    start_time: datetime
    end_time: datetime
    status: Status
    final_price: Decimal | None
    closed_at: datetime | None
    highest_bid: Decimal | None
    version: int
    cancelled_at: datetime | None
    cancel_reason: str | None

    @property
    def base_price(self) -> Decimal:
        """The starting price, under the name that existing clients use."""
        return self.upset_price

    @property
    def is_active(self) -> bool:
        """Whether bids are accepted."""
        return self.status is Status.ACTIVE

    @property
    def is_final(self) -> bool:
        """Whether the results are written."""
        return self.closed_at is not None


class Sessions:
    """Creates, reads and changes sessions."""

    def __init__(  # noqa: PLR0913 - a sale needs all of these
        self,
        database: Database,
        redis: Redis,
        loader: SessionLoader,
        replication: Replication,
        *,
        allow_lower_bids: bool = False,
        currency: str = "EUR",
        image_hosts: ImageHosts,
    ) -> None:
        """`allow_lower_bids`: for new sessions whose terms do not say; `currency`: for all."""
        self._database = database
        self._allow_lower_bids = allow_lower_bids
        self._currency = currency
        self._image_hosts = image_hosts
        self._replication = replication
        self._redis = redis
        self._loader = loader

    def create(self, product_id: UUID, terms: Terms) -> SessionView:
        """Create an open or scheduled session for an existing product."""
        now = clock.now(self._redis)
        session = new_session(terms, now, self._allow_lower_bids)
        with self._database.begin() as db:
            product = db.get(Product, product_id)
            if product is None:
                raise errors.ProductNotFound
            self._add(db, session, product, now)
            store_response(db, view_of(session, now))
        return self._created(session, now)

    def create_with_product(
        self, name: str, description: str | None, terms: Terms, image_url: str | None = None
    ) -> SessionView:
        """Create a product and its session in one transaction. Raises InvalidImageUrl."""
        self._image_hosts.require(image_url)
        now = clock.now(self._redis)
        session = new_session(terms, now, self._allow_lower_bids)
        with self._database.begin() as db:
            product = Product(name=name, description=description, image_url=image_url)
            self._add(db, session, product, now)
            store_response(db, view_of(session, now))
        return self._created(session, now)

    def get(self, session_id: UUID) -> SessionView:
        """One session."""
        with self._database.begin() as db:
            session = db.get(BiddingSession, session_id)
            if session is None:
                raise errors.SessionNotFound(session_id)
            return view_of(session, _database_now(db))

    def list(
        self, status: Status | None, *, page: int, page_size: int
    ) -> tuple[Sequence[SessionView], int]:
        """One page of sessions, newest start first, and the total count."""
        return self._page(lambda now: newest(status, now), page, page_size)

    def soonest(
        self, status: Status | None, *, page: int, page_size: int
    ) -> tuple[Sequence[SessionView], int]:
        """One page of sessions and the total count: started ones by end, then those to come by
        start, then those that are over, the latest first.
        """
        return self._page(lambda now: soonest(status, now), page, page_size)

    def soonest_ending(
        self, status: Status | None, search: str, *, page: int, page_size: int
    ) -> tuple[Sequence[SessionView], int]:
        """One page of sessions, soonest end first, and the total count. Those that are over come
        last, the latest first. `search`: a part of the name.
        """
        return self._page(lambda now: soonest_ending(status, search, now), page, page_size)

    def _page(
        self, choose: Callable[[datetime], Select[BiddingSession]], page: int, page_size: int
    ) -> tuple[Sequence[SessionView], int]:
        with self._database.begin() as db:
            now = _database_now(db)
            rows, total = page_of(db, choose(now), page=page, page_size=page_size)
            return [view_of(session, now) for session in rows], total

    def active(self) -> Sequence[SessionView]:
        """All sessions that accept bids now."""
        with self._database.begin() as db:
            now = _database_now(db)
            return [view_of(session, now) for session in db.scalars(newest(Status.ACTIVE, now))]

    def activate(self, session_id: UUID) -> SessionView:
        """Accept bids; a scheduled session starts now and keeps its end."""
        return self._open_or_pause(session_id, Status.ACTIVE)

    def deactivate(self, session_id: UUID) -> SessionView:
        """Refuse bids; standing bids and the end time stay."""
        return self._open_or_pause(session_id, Status.INACTIVE)

    def end_now(self, session_id: UUID) -> SessionView:
        """End the session early; its results follow."""
        with self._database.begin() as db:
            session = locked(db, session_id)
            if session.status == Status.CANCELLED.value:
                raise errors.SessionCancelled
            if session.status == Status.ENDED.value:
                return view_of(session, session.end_time)
            end_before = session.end_time
            ended_at = self._shut_gate(session)
            session.end_time = min(session.end_time, ended_at)
            session.start_time = min(session.start_time, session.end_time)
            session.version += session.end_time != end_before
            db.flush()
            return view_of(session, session.end_time)

    def open_due(self) -> int:
        """Store the status of scheduled sessions that have started; returns how many."""
        now = clock.now(self._redis)
        with self._database.begin() as db:
            opened = db.scalars(
                update(BiddingSession)
                .where(
                    BiddingSession.status == Status.SCHEDULED.value,
                    BiddingSession.start_time <= now,
                )
                .values(status=Status.ACTIVE.value, version=BiddingSession.version + 1)
                .returning(BiddingSession.id)
            ).all()
            for session in db.scalars(select(BiddingSession).where(BiddingSession.id.in_(opened))):
                note(db, Milestone.STARTED, view_of(session, session.start_time))
        return len(opened)

    def _add(self, db: Session, session: BiddingSession, product: Product, now: datetime) -> None:
        session.product = product
        session.currency = self._currency
        db.add(session)
        db.flush()
        db.add(BidLogOffset(session_id=session.id, persisted_sequence=0))
        note(db, Milestone.CREATED, view_of(session, now))
        if session.status == Status.ACTIVE.value:
            session.version += 1
            note(db, Milestone.STARTED, view_of(session, now))

    def _created(self, session: BiddingSession, now: datetime) -> SessionView:
        log.info("session_created", session_id=str(session.id), inventory=session.inventory)
        self.load(session.id)
        return view_of(session, now)

    def load(self, session_id: UUID) -> None:
        """Load a session into Redis, if that is possible now; else its first bid does."""
        try:
            self._loader.load(session_id)
        except _NOT_LOADED:
            log.warning("session_not_loaded_yet", session_id=str(session_id))

    def _open_or_pause(self, session_id: UUID, status: Status) -> SessionView:
        now = clock.now(self._redis)
        with self._database.begin() as db:
            session = locked(db, session_id)
            require_open(session, now)
            if status is Status.ACTIVE:
                session.start_time = min(session.start_time, now)
            session.version += session.status != status.value
            session.status = status.value
            db.flush()
            if status is Status.ACTIVE:
                note(db, Milestone.STARTED, view_of(session, now))
            [outcome] = scripts.set_status(
                self._redis,
                [keys.session_params(session_id)],
                [status.value, clock.to_microseconds(session.start_time)],
            )
            if outcome == Outcome.SESSION_ENDED:
                raise errors.SessionEnded
            self._replication.confirm(keys.session_params(session_id))
        log.info("session_status_set", session_id=str(session_id), status=status.value)
        return view_of(session, now)

    def _shut_gate(self, session: BiddingSession) -> datetime:
        params = keys.session_params(session.id)
        reply = scripts.shut_gate(
            self._redis, [params], ["early", clock.to_microseconds(session.end_time)]
        )
        if reply[0] == Outcome.UNKNOWN_SESSION:
            # It cannot be loaded before the caller's transaction ends: the row is locked.
            return clock.now(self._redis)
        self._replication.confirm(params)
        return clock.from_microseconds(int(reply[1]))


def view_of(session: BiddingSession, now: datetime) -> SessionView:
    """A session as clients see it at `now`."""
    stored = Status(session.status)
    return SessionView(
        session_id=session.id,
        product_id=session.product_id,
        name=session.product.name,
        description=session.product.description,
        image_url=session.product.image_url,
        currency=session.currency,
        **terms_of(session, OrderTerms),
        start_time=session.start_time,
        end_time=session.end_time,
        status=status_at(stored, session.start_time, session.end_time, now),
        final_price=session.final_price,
        closed_at=session.closed_at,
        highest_bid=session.highest_bid,
        version=session.version,
        cancelled_at=session.cancelled_at,
        cancel_reason=session.cancel_reason,
    )


def new_session(terms: Terms, now: datetime, allow_lower_bids: bool) -> BiddingSession:
    """A session of these terms; `allow_lower_bids` if they do not say."""
    require_telling_cents(terms)
    start = now if terms.start_time is None else terms.start_time.astimezone(UTC)
    if start > now + MAX_START_AHEAD:
        raise errors.InvalidTerms("start_time", "Must be at most ten years ahead.")
    end = start + terms.duration
    if end <= start:
        raise errors.InvalidTerms("duration_minutes", "Must be longer than a microsecond.")
    if end <= now:
        raise errors.InvalidTerms("start_time", "The session would already be over.")
    require_offers_after(end, terms.offers_end)
    if terms.allow_lower_bids is None:
        terms = replace(terms, allow_lower_bids=allow_lower_bids)
    return BiddingSession(
        **terms_of(terms, OrderTerms),
        start_time=start,
        end_time=end,
        status=(Status.SCHEDULED if start > now else Status.ACTIVE).value,
    )


def require_offers_after(end: datetime, offers_end: datetime | None) -> None:
    """Raises InvalidTerms if offers would end before the session does."""
    if offers_end is not None and offers_end <= end:
        raise errors.InvalidTerms("offers_end", "Must be after the session's end.")


def require_telling_cents(terms: Coefficients) -> None:
    """Raises InvalidTerms, by the term with the largest part in the score beside the price's."""
    if tells_cents(terms):
        return
    parts = {"alpha": 0.0, "beta": terms.beta, "gamma": MAX_WEIGHT * terms.gamma}
    raise errors.InvalidTerms(
        max(parts, key=lambda name: parts[name]),
        "Scores could not tell prices that are one cent apart. Raise alpha, lower beta or gamma, "
        "or set alpha to 0 if prices are not to count.",
    )


def locked(db: Session, session_id: UUID) -> BiddingSession:
    """The session with its row locked until the transaction ends."""
    session = db.scalar(
        select(BiddingSession)
        .where(BiddingSession.id == session_id)
        .with_for_update(of=BiddingSession)
    )
    if session is None:
        raise errors.SessionNotFound(session_id)
    return session


def require_open(session: BiddingSession, now: datetime) -> None:
    """Raises SessionEnded or SessionCancelled."""
    status = view_of(session, now).status
    if status.is_over:
        raise errors.SessionCancelled if status is Status.CANCELLED else errors.SessionEnded


def _database_now(db: Session) -> datetime:
    """For displaying a status only: reading sessions must not depend on Redis."""
    return db.scalar(select(func.clock_timestamp()))  # type: ignore[return-value]
