"""Fills Redis with synthetic bids, by Lua scripts and in chunks."""

from pathlib import Path
from uuid import UUID

from redis import Redis

from core.redis import keys

# One chunk blocks the server for some tens of milliseconds.
CHUNK = 10_000
_LOG = Path(__file__).with_name("fill_log.lua").read_text(encoding="utf-8")
_BOARD = Path(__file__).with_name("fill_board.lua").read_text(encoding="utf-8")


def fill_log(redis: Redis, session_id: UUID, *, bids: int, bidders: int) -> None:
    """Fill a bid log with entries from sequence 1."""
    names = (keys.session_params(session_id), keys.bid_log(session_id))
    for first in range(1, bids + 1, CHUNK):
        last = min(first + CHUNK - 1, bids)
        redis.eval(_LOG, len(names), *names, first, last, bidders)


def fill_board(redis: Redis, session_id: UUID, *, bidders: int) -> None:
    """Fill a board with one standing bid per bidder."""
    names = (keys.session_params(session_id), keys.ranking(session_id))
    prefix = keys.standing_bid_prefix(session_id)
    for first in range(1, bidders + 1, CHUNK):
        last = min(first + CHUNK - 1, bidders)
        redis.eval(_BOARD, len(names), *names, first, last, prefix)
