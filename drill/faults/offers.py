"""Ten thousand offers that expire at once, while the processes that replace them are killed."""

import time
from contextlib import suppress
from typing import Any

import psutil

from dev.errors import DevError
from drill.environment.round_context import RoundContext

OFFERS = 10_000
MAX_SECONDS = 10.0
KILL_SECONDS = (2.0, 5.0)
GIVE_UP_SECONDS = 120.0
POLL_SECONDS = 0.05
# A closed session as long ago as its results are settled, with twice as many ranks as items.
_SEED = """
WITH buyer AS (
    INSERT INTO users (id, username, email, password_hash)
    SELECT gen_random_uuid(), %(name)s || number, %(name)s || number || '@example.com', ''
      FROM generate_series(1, 2 * %(offers)s) AS number
    RETURNING id, username),
ranked AS (SELECT id, row_number() OVER (ORDER BY username)::integer AS rank FROM buyer),
session AS (
    INSERT INTO sessions (id, product_id, upset_price, inventory, alpha, beta, gamma, start_time,
                          end_time, status, closed_at, published_at, weighed_at)
    SELECT gen_random_uuid(), product_id, 1, %(offers)s, 1, 0, 0, now(), now(), 'ended', now(),
           now(), now()
      FROM sessions LIMIT 1
    RETURNING id),
ranking AS (
    INSERT INTO rankings (session_id, user_id, rank, sequence, price, score, response_time, weight)
    SELECT session.id, ranked.id, rank, rank, 1, 1, 0, 1 FROM session, ranked)
SELECT id::text FROM session
"""
_OFFER = """
INSERT INTO offers (id, session_id, user_id, rank, place, expires_at)
SELECT gen_random_uuid(), session_id, user_id, rank, rank, clock_timestamp()
  FROM rankings WHERE session_id = %s AND rank <= %s
"""
_STATE = """
SELECT count(*) FILTER (WHERE state = 'open' AND expires_at <= clock_timestamp()),
       count(*) FILTER (WHERE state IN ('open', 'paid')),
       count(DISTINCT place) FILTER (WHERE state IN ('open', 'paid')),
       (SELECT count(*) FROM shop_events WHERE shop_events.session_id = %(session)s)
  FROM offers WHERE session_id = %(session)s
"""


def expire(context: RoundContext) -> None:
    """Let all offers of a session expire at once, and kill helper's processes meanwhile."""
    session_id = _seed(context)
    began_at, kills, next_kill = time.monotonic(), 0, 0.0
    while (state := _state(context, session_id))[0] and state[1] <= OFFERS:
        now = time.monotonic()
        if now > began_at + GIVE_UP_SECONDS:
            raise DevError(f"{state[0]} offers are not replaced.\n{context.stack.log_tails()}")
        if now > next_kill:
            kills += _kill_one(context)
            next_kill = now + context.random.uniform(*KILL_SECONDS)
        time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - began_at
    context.notes.append(f"{OFFERS:,} offers replaced in {seconds:.1f} s, {kills} kills")
    _judge(context, state, seconds)


def _seed(context: RoundContext) -> str:
    name = f"buyer{context.random.randrange(10**9)}-"
    with context.postgres() as cursor:
        cursor.execute(_SEED, {"name": name, "offers": OFFERS})
        session_id = str(cursor.fetchone()[0])
        cursor.execute(_OFFER, [session_id, OFFERS])
    return session_id


def _state(context: RoundContext, session_id: str) -> tuple[int, int, int, int]:
    """Overdue offers, those open or paid, their places, and events."""
    with context.postgres() as cursor:
        cursor.execute(_STATE, {"session": session_id})
        row: Any = cursor.fetchone()
    return tuple(row)


def _kill_one(context: RoundContext) -> int:
    with suppress(psutil.NoSuchProcess, IndexError):
        context.random.choice(context.stack["helper"].children()).kill()
        return 1
    return 0


def _judge(context: RoundContext, state: tuple[int, int, int, int], seconds: float) -> None:
    _, taken, places, events = state
    context.oversold = max(0, taken - OFFERS)
    if (taken, places, events) != (OFFERS, OFFERS, 2 * OFFERS):
        raise DevError(f"{taken} offers at {places} places with {events} events.")
    if seconds > MAX_SECONDS:
        raise DevError(f"The offers were replaced in {seconds:.1f} s.")
