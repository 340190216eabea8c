"""Entries of the bid log: one accepted bid each, written by place_bids.lua."""

from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from uuid import UUID

from msgspec import Struct

from core.redis import clock
from core.rules.scoring import MAX_PRICE

COLUMNS = (
    "session_id",
    "sequence",
    "user_id",
    "price",
    "score",
    "response_time",
    "weight",
    "accepted_at",
)

_REMEMBERED = 10_000
_CENT = Decimal("0.01")

Entry = tuple[str, dict[str, str]]
# Unique among the bids of a session, whatever their sequences.
Identity = tuple[UUID, datetime, Decimal]


class LoggedBid(Struct, frozen=True):
    """One validated entry of the log. Doubles are text, exact to the last bit."""

    session_id: UUID
    sequence: int
    user_id: UUID
    price: Decimal
    score: str
    response_time: str
    weight: str
    accepted_at: datetime

    @classmethod
    def parse(cls, session_id: UUID, entry: Entry, sequence: int | None = None) -> "LoggedBid":
        """Validate an entry. Raises ValueError if the script cannot have written it.

        `sequence`: the bid's, if it differs from the entry's.
        """
        entry_id, fields = entry
        try:
            return cls(
                session_id,
                sequence or sequence_of(entry_id),
                _known_uuid(fields["user_id"]),
                _price(fields["price"]),
                _double(fields["score"]),
                _known_double(fields["response_time"]),
                _known_double(fields["weight"]),
                _known_moment(fields["accepted_at"]),
            )
        except (KeyError, ArithmeticError) as error:
            raise ValueError(f"missing or malformed field: {error}") from error

    @property
    def identity(self) -> Identity:
        """A value unique among the bids of its session."""
        return self.user_id, self.accepted_at, self.price

    def copy_line(self) -> str:
        """The row in COPY's text format, in the order of COLUMNS."""
        session_id, user_id = _known_text(self.session_id), _known_text(self.user_id)
        return (
            f"{session_id}\t{self.sequence}\t{user_id}\t{self.price}\t{self.score}"
            f"\t{self.response_time}\t{self.weight}\t{_known_iso(self.accepted_at)}\n"
        )


def sequence_of(entry_id: str) -> int:
    """The sequence in an entry's id, `<sequence>-0`."""
    return int(entry_id.partition("-")[0])


def storable(fields: dict[str, str]) -> dict[str, str]:
    """The fields with NUL escaped, which PostgreSQL's JSON cannot hold."""
    return {
        name.replace("\0", r"\x00"): text.replace("\0", r"\x00") for name, text in fields.items()
    }


def _price(text: str) -> Decimal:
    price = Decimal(text).quantize(_CENT)
    if not 0 < price <= MAX_PRICE:
        raise ValueError(f"price {text} is out of range")
    return price


def _double(text: str) -> str:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is not finite")
    return repr(number)


# Members bid repeatedly, and all bids of one call have the same time, so most texts recur.
# Parsing takes ten times as long as the cache.
_known = lru_cache(_REMEMBERED)
_known_uuid = _known(UUID)
_known_double = _known(_double)
_known_moment = _known(lambda text: clock.from_microseconds(int(text)))
_known_text = _known(str)
_known_iso = _known(datetime.isoformat)
