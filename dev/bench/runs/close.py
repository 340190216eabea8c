"""Compares closing a large session with its ranking SQL alone, and with prices and offers."""

import time
from collections.abc import Callable
from copy import copy
from uuid import UUID

from sqlalchemy import text

from core.redis import keys
from core.rules.pricing import Pricing
from core.sessions.closing import _WRITE_RANKINGS
from core.sessions.loading import SessionLoader
from dev.bench.runs.runs import Runs
from dev.bench.servers.stack import open_session

_INVENTORY = 1000
TABLE = "bench_rankings"
_RANKING_SQL = str(_WRITE_RANKINGS).replace("INTO rankings", f"INTO {TABLE}")
MEMBERS = """
    INSERT INTO users (id, username, email, password_hash)
    SELECT md5('bidder' || n)::uuid, 'bidder-' || n, 'bidder-' || n || '@example.invalid', '-'
      FROM generate_series(1, :bidders) n
"""
# Each bidder bids once, then at random.
BIDS = """
    INSERT INTO bids (session_id, sequence, user_id, price, score, response_time, weight,
                      accepted_at)
    SELECT :session_id, n, md5('bidder' || bidder)::uuid, price,
           0.5 * price::float8 + 1000 / (n / 1e4::float8 + 1) + 2.0, n / 1e4::float8, 1.0, now()
      FROM (SELECT n, round((100 + 900 * random())::numeric, 2) AS price,
                   CASE WHEN n <= :bidders THEN n
                        ELSE 1 + floor(:bidders * random())::int END AS bidder
              FROM generate_series(1, :bids) n OFFSET 0) made_up
"""
_OFFSET = "UPDATE bid_log_offsets SET persisted_sequence = :bids WHERE session_id = :session_id"
_PLACES = "SELECT count(*) FROM rankings WHERE session_id = :session_id"
_PRICED = f"{_PLACES} AND price_to_pay <= price"
_DIFFERENT_PLACES = (
    f"SELECT count(*) FROM (TABLE rankings EXCEPT TABLE {TABLE}) d WHERE session_id = :session_id"  # noqa: S608 - a constant
)


class CloseRuns(Runs):
    """Closes sessions whose bids are in PostgreSQL and whose board is in Redis."""

    def run(self) -> None:
        self._execute("TRUNCATE bids")
        self._execute(f"CREATE TABLE {TABLE} (LIKE rankings INCLUDING ALL)")
        self._execute(MEMBERS, bidders=self._options.close_bidders)
        for number in range(1, self._options.rounds + 1):
            alone, close = self._round(self._session(Pricing.PAY_AS_BID))
            priced = self._priced(self._session(Pricing.SECOND_SCORE))
            self._figures.add("ranking SQL s", alone)
            self._figures.add("close s", close)
            self._figures.add("close s, priced", priced)
            print(
                f"  close, round {number} of {self._options.rounds}: "
                f"close {close:.2f} s, ranking SQL alone {alone:.2f} s, "
                f"with prices and offers {priced:.2f} s",
                flush=True,
            )

    def _round(self, session_id: UUID) -> tuple[float, float]:
        """Seconds of the ranking SQL alone, and of a close without what follows from it."""
        alone = _timed(lambda: self._execute(_RANKING_SQL, session_id=session_id))
        self._execute("CHECKPOINT")
        closing = copy(self._services.closing)
        closing._settle = lambda *_: None  # noqa: SLF001 - the product has no close without it
        close = _timed(lambda: closing.close(session_id))
        self._check(session_id)
        return alone, close

    def _priced(self, session_id: UUID) -> float:
        """Seconds of a close as it is."""
        seconds = _timed(lambda: self._services.closing.close(session_id))
        found = self._count(_PRICED, session_id)
        self._figures.check(found == _INVENTORY, f"close: {found} prices for {_INVENTORY} items")
        return seconds

    def _session(self, pricing: Pricing) -> UUID:
        """A session ready to be closed: ended, all bids drained and on the board."""
        services, options = self._services, self._options
        print(f"  close: creating {options.close_bids:,} bids", flush=True)
        for table in ("bids", "rankings", TABLE):
            self._execute(f"TRUNCATE {table}")
        services.redis.flushdb()
        session_id = open_session(services, inventory=_INVENTORY, pricing=pricing.value)
        self._execute(
            BIDS,
            session_id=session_id,
            bids=options.close_bids,
            bidders=options.close_bidders,
        )
        self._execute(_OFFSET, session_id=session_id, bids=options.close_bids)
        self._execute("VACUUM ANALYZE bids")
        # As if Redis had assigned all these sequences, so that the load reports no loss.
        services.redis.execute_command(  # type: ignore[no-untyped-call]
            "XSETID", keys.bid_log(session_id), f"{options.close_bids}-0"
        )
        services.redis.delete(keys.session_params(session_id))
        SessionLoader(services.database, services.redis, services.bid_log).load(session_id)
        services.sessions.end_now(session_id)
        self._execute("CHECKPOINT")
        return session_id

    def _check(self, session_id: UUID) -> None:
        found = self._count(_PLACES, session_id)
        self._figures.check(
            found == self._options.close_bidders,
            f"close: {found} places for {self._options.close_bidders} bidders",
        )
        different = self._count(_DIFFERENT_PLACES, session_id)
        self._figures.check(different == 0, f"close: {different} places differ from the SQL's")

    def _count(self, statement: str, session_id: UUID) -> int:
        with self._services.engine.connect() as connection:
            return int(connection.scalar(text(statement), {"session_id": session_id}) or 0)

    def _execute(self, statement: str, **values: object) -> None:
        with self._services.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(
                text(statement), values
            )


def _timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
