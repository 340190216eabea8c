"""A bid's two shapes by msgspec: the request, and the answer to an accepted bid.

What schemas.BidRequest and schemas.PlacedBid do is the reference, and takes ten times as
long. A request that is written as nearly all are is read here; whatever else comes is for
the schema to judge, so no verdict is made twice. Answers have the same bytes.
"""

import re
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

import msgspec

from core.bidding.placing import PlacedBid
from web.http import schemas
from web.http.body import decode
from web.http.fields import parse_uuid

# Digits alone, up to the largest price; what is below the smallest is the schema's to refuse.
_PLAIN_PRICE = re.compile(rb"[1-9][0-9]{0,9}(?:\.[0-9]{1,2})?")
_REMEMBERED_IDS = 1000
_CENT = Decimal("0.01")
_schema = schemas.BidRequest()


Number = float | msgspec.Raw


class _Bid(msgspec.Struct, forbid_unknown_fields=True):
    session_id: str
    price: msgspec.Raw


class _Placed(msgspec.Struct):
    status: str
    session_id: UUID
    sequence: int
    price: float
    score: Number
    rank: int
    response_time: Number
    user_weight: Number
    is_winning: bool
    accepted_at: str
    replayed: bool
    message: str


_read = msgspec.json.Decoder(_Bid).decode
_write = msgspec.json.Encoder().encode
_uuid = lru_cache(_REMEMBERED_IDS)(parse_uuid)
# The bids of one call have one moment.
_text_of = lru_cache(1)(datetime.isoformat)


def read_bid(body: bytes | None) -> tuple[UUID, Decimal]:
    """Session and price. Raises what `decode` and the schema do. None: the body is too long."""
    # msgspec passes over bytes that are no UTF-8 where it need not look.
    if body is not None and body.isascii():
        try:
            bid = _read(body)
            if _PLAIN_PRICE.fullmatch(bid.price):
                return _uuid(bid.session_id), Decimal(str(bid.price, "ascii")).quantize(_CENT)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
    loaded = _schema.load(decode(body))
    return loaded["session_id"], loaded["price"]


def write_placed(placed: PlacedBid) -> bytes:
    """The answer to an accepted bid, or to a replay."""
    return _write(
        _Placed(
            "accepted",
            placed.session_id,
            placed.sequence,
            # Between a cent and ten billions: never with an exponent.
            float(placed.price),
            _number(placed.score),
            placed.rank,
            _number(placed.response_time),
            _number(placed.user_weight),
            placed.is_winning,
            _text_of(placed.accepted_at),
            placed.replayed,
            placed.message,
        )
    )


def _number(value: float) -> Number:
    """As Python writes it: msgspec writes exponents another way."""
    has_exponent = value and not 1e-4 <= abs(value) < 1e16  # noqa: PLR2004 - Python's own bounds
    return msgspec.Raw(repr(value).encode()) if has_exponent else value
