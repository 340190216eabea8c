"""Fast msgspec versions of a bid's request and of the response to an accepted bid.

The reference is schemas.BidRequest and schemas.PlacedBid, which take ten times as long.
Requests in the usual form are decoded here and all others by the schema, which alone refuses
any. Responses are byte for byte the same.
"""

import re
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

import msgspec

from core.bidding.placing import PlacedBid
from web.http import schemas
from web.http.body import MAX_BID_BYTES, decode
from web.http.fields import parse_uuid

# Plain digits up to the highest price. The schema handles all others.
_PLAIN_PRICE = re.compile(rb"[1-9][0-9]{0,9}(?:\.[0-9]{1,2})?")
# Quotation marks around two keys and an id, and around `only_if_better`. A key that stands twice
# brings two more, and the schema's decoder refuses it; msgspec would take the last one.
_PLAIN_QUOTES = {6: False, 8: True}
_CACHED_IDS = 1000
_CENT = Decimal("0.01")
_schema = schemas.BidRequest()


Number = float | msgspec.Raw


class _Bid(msgspec.Struct, forbid_unknown_fields=True):
    session_id: str
    price: msgspec.Raw
    only_if_better: bool | msgspec.UnsetType = msgspec.UNSET


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
_uuid = lru_cache(_CACHED_IDS)(parse_uuid)
# Bids of one call share their accepted_at.
_text_of = lru_cache(1)(datetime.isoformat)


def read_bid(body: bytes | None) -> tuple[UUID, Decimal, bool]:
    """Session id, price and `only_if_better`. Raises like `decode` and the schema.

    None: the body is too long.
    """
    # msgspec accepts invalid UTF-8 in parts that it skips.
    if body is not None and body.isascii():
        try:
            bid = _read(body)
            has_flag = bid.only_if_better is not msgspec.UNSET
            if _PLAIN_QUOTES.get(body.count(b'"')) is has_flag and _PLAIN_PRICE.fullmatch(
                bid.price
            ):
                price = Decimal(str(bid.price, "ascii")).quantize(_CENT)
                return _uuid(bid.session_id), price, bid.only_if_better is True
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
    loaded = _schema.load(decode(body, MAX_BID_BYTES))
    return loaded["session_id"], loaded["price"], loaded["only_if_better"]


def write_placed(placed: PlacedBid) -> bytes:
    """The response to an accepted or replayed bid."""
    return _write(
        _Placed(
            "accepted",
            placed.session_id,
            placed.sequence,
            # Between a cent and ten billion: never written with an exponent.
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
    """Formatted like Python's json: msgspec formats exponents differently."""
    has_exponent = value and not 1e-4 <= abs(value) < 1e16  # noqa: PLR2004 - Python's own bounds
    return msgspec.Raw(repr(value).encode()) if has_exponent else value
