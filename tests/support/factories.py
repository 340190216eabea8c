"""Shortcuts to a shop in the state that a test is about."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text, update

from core.bidding.placing import MAX_BATCH_BIDS, Bidder, Bidding, PlacedBid
from core.bootstrap import Services
from core.members.accounts import Account
from core.postgres.models import BiddingSession
from core.redis import clock, keys
from core.sessions.sessions import SessionView, Terms

PASSWORD = "correct horse battery staple"


def bidding_like(services: Services, **changes: Any) -> Bidding:
    """A Bidding as these services', but for some changes."""
    like = services.bidding
    parts = {
        "calls": like._calls,
        "loader": like._loader,
        "weights": like._weights,
        "revocations": like._revocations,
        "backlog": like._backlog,
        "bids_per_second": services.settings.bid_rate_per_second,
        "burst": services.settings.bid_rate_burst,
        "max_batch": MAX_BATCH_BIDS,
    }
    return Bidding(services.runtime, **parts | changes)


class Shop:
    """Makes members, sessions and bids through the services under test."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.drains_scheduled: list[UUID] = []
        self._numbers = count(1)

    def account(self, username: str | None = None) -> Account:
        """A registered member; the first one of a test is the admin."""
        username = username or f"member{next(self._numbers)}"
        return self.services.accounts.register(username, f"{uuid4().hex}@example.com", PASSWORD)

    def bidder(self, username: str | None = None) -> Bidder:
        """A registered member, as the bid path knows one."""
        account = self.account(username)
        return Bidder(account.user_id, account.username, token_id=uuid4().hex)

    def session(self, **terms: Any) -> SessionView:
        """A session that takes bids now, for an hour, unless the terms say otherwise."""
        defaults: dict[str, Any] = {
            "upset_price": Decimal("100.00"),
            "inventory": 3,
            "alpha": 0.5,
            "beta": 1000.0,
            "gamma": 2.0,
            "duration": timedelta(hours=1),
        }
        return self.services.sessions.create_with_product("Item", None, Terms(**defaults | terms))

    def bid(
        self,
        bidder: Bidder,
        session: SessionView,
        price: str | Decimal,
        *,
        only_if_better: bool = False,
    ) -> PlacedBid:
        """Place a bid. A drain that it schedules is only noted, in `drains_scheduled`."""
        return self.services.bidding.place(
            bidder,
            session.session_id,
            Decimal(price).quantize(Decimal("0.01")),
            only_if_better=only_if_better,
            schedule_drain=self.drains_scheduled.append,
        )

    def crowd(self, count: int) -> list[Bidder]:
        """Bidders whom Redis knows, and PostgreSQL need not."""
        self.services.revocations.load()
        bidders = [Bidder(uuid4(), f"somebody{number}", uuid4().hex) for number in range(count)]
        self.services.redis.mset({keys.user_weight(bidder.user_id): "1.0" for bidder in bidders})
        return bidders

    def bid_at_once(
        self,
        session: SessionView,
        bids: Sequence[tuple[Bidder, str | Decimal] | tuple[Bidder, str | Decimal, bool]],
        bidding: Bidding | None = None,
    ) -> list[PlacedBid | Exception]:
        """Place bids that come at one moment: as many as may go together, in one call. What
        each is answered, or the error that it raises. A third element is `only_if_better`.
        """

        def place(bidder: Bidder, price: str | Decimal, only_if_better: bool = False) -> Any:
            return (bidding or self.services.bidding).bid(
                bidder, session.session_id, Decimal(price), only_if_better=only_if_better
            )

        async def bid_all() -> list[Any]:
            return await asyncio.gather(
                *[place(*bid) for bid in bids],
                return_exceptions=True,
            )

        return self.services.runtime.loop.run(bid_all())

    def drain(self, session: SessionView) -> int:
        """Persist the session's log; returns how many bids were persisted."""
        return self.services.bid_log.drain(session.session_id, seconds=30).rows

    def begin(self, session: SessionView) -> None:
        """Let a scheduled session's start be at this moment, in Redis and in PostgreSQL alike."""
        self.move_start(session, clock.now(self.services.redis))

    def move_start(self, session: SessionView, start: datetime) -> None:
        """Let a session's start be another, in Redis and in PostgreSQL alike."""
        params = keys.session_params(session.session_id)
        if self.services.redis.exists(params):
            self.services.redis.hset(params, "start", clock.to_microseconds(start))
        with self.services.database.begin() as db:
            db.execute(
                update(BiddingSession)
                .where(BiddingSession.id == session.session_id)
                .values(start_time=start)
            )

    def end(self, session: SessionView) -> None:
        """Let the session's time be over at this moment, in Redis and in PostgreSQL alike."""
        self.move_end(session, clock.now(self.services.redis))

    def move_end(self, session: SessionView, end: datetime) -> None:
        """Let a session's end be another, in Redis and in PostgreSQL alike."""
        params = keys.session_params(session.session_id)
        if self.services.redis.exists(params):
            self.services.redis.hset(params, "end", clock.to_microseconds(end))
        self._move_end(session, end)

    def close(self, session: SessionView) -> bool:
        """End the session and write its results."""
        self.end(session)
        return self.services.closing.close(session.session_id)

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self.services.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), parameters)]

    def redis_state(self) -> dict[str, Any]:
        """Every key of the bids' Redis with its value, to show that nothing changed.

        Without the counters of limits, which are there when the broker is no Redis: they
        count refused requests, too.
        """
        redis = self.services.redis
        names = [name for name in sorted(redis.keys()) if not name.startswith("limits:")]
        with redis.pipeline(transaction=False) as asking:
            for name in names:
                asking.type(name)
            kinds = asking.execute()
            readers = {
                "string": asking.get,
                "hash": asking.hgetall,
                "zset": lambda key: asking.zrange(key, 0, -1, withscores=True),
                "stream": asking.xrange,
                "set": asking.smembers,
            }
            for name, kind in zip(names, kinds, strict=True):
                readers[kind](name)
            return dict(zip(names, asking.execute(), strict=True))

    def _move_end(self, session: SessionView, end: datetime) -> None:
        with self.services.database.begin() as db:
            db.execute(
                update(BiddingSession)
                .where(BiddingSession.id == session.session_id)
                .values(end_time=end)
            )
