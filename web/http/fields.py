"""Strict marshmallow fields: no strings as numbers, no true as 1.

Fractions are decoded as Decimal (see web/http/body.py), so that a price is validated by the
digits that were sent and not as the nearest double.
"""

import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields

from core.rules import identity

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_WHOLE = re.compile(r"-?[0-9]+")
# Control characters and lone surrogates: PostgreSQL cannot store NUL or surrogates, and no
# text needs the others.
_UNPRINTABLE = frozenset({"Cc", "Cs"})
_LINE_BREAKS = "\t\n\r"
# Category Cc, for a character class in Python and ECMA regular expressions.
CONTROL_CHARACTERS = r"\u0000-\u001f\u007f-\u009f"
_CONTROL_CHARACTERS_BUT_LINE_BREAKS = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
CENT = Decimal("0.01")
# A short text with an exponent can be a number with a billion digits.
_MAX_EXPONENT = 20


def parse_uuid(text: object) -> UUID:
    """Parse a UUID in canonical form. Raises ValueError for any other."""
    if not isinstance(text, str) or not _UUID.fullmatch(text):
        raise ValueError("not a UUID")
    return UUID(text)


class Text(fields.String):
    """A string without control characters."""

    def __init__(self, *, multiline: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._allowed = _LINE_BREAKS if multiline else ""
        forbidden = _CONTROL_CHARACTERS_BUT_LINE_BREAKS if multiline else CONTROL_CHARACTERS
        self.pattern = f"^[^{forbidden}]*$"

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Must be a string.")
        for character in value:
            if unicodedata.category(character) in _UNPRINTABLE and character not in self._allowed:
                raise ValidationError("Must not contain control characters.")
        return value


class Username(Text):
    """A username that does not pass for another. For new ones: existing ones are read as `Text`."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if fault := identity.name_fault(text):
            raise ValidationError(fault)
        return text


class Title(Text):
    """A name of a product: anything that shows."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if text and not identity.shows_something(text):
            raise ValidationError("Must have a letter, digit, sign or symbol that can be seen.")
        return text


class EmailAddress(Text):
    """An e-mail address, as mail servers take it: ASCII, the domain in IDNA."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        try:
            return identity.mailbox(super()._deserialize(value, *args, **kwargs))
        except ValueError as error:
            raise ValidationError(str(error)) from None


class NewPassword(Text):
    """A password as it is typed, which can be typed again. For new ones, like `Username`."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if text and (fault := identity.password_fault(text)):
            raise ValidationError(fault)
        return text


class Number(fields.Float):
    """A finite JSON number as a double."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        try:
            number = float(_number(value))
        except OverflowError:
            raise ValidationError("Is too large.") from None
        if not isfinite(number):
            raise ValidationError("Is too large.")
        return number


class Integer(fields.Integer):
    """A JSON number without a fraction."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        number = _number(value)
        if isinstance(number, Decimal) and (
            number.adjusted() > _MAX_EXPONENT or number != number // 1
        ):
            raise ValidationError("Must be a whole number of reasonable size.")
        return int(number)


class QueryInteger(fields.Integer):
    """A whole number in a query, in ASCII digits; int() also accepts 1_0 and \u0663."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if not _WHOLE.fullmatch(value):
            raise ValidationError("Must be a whole number.")
        return super()._deserialize(value, *args, **kwargs)


class QueryFlag(fields.Boolean):
    """`true` or `false` in a query; no other spelling."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        try:
            return {"true": True, "false": False}[value]
        except KeyError:
            raise ValidationError("Must be true or false.") from None


class Flag(fields.Boolean):
    """A JSON boolean; no string or number."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class Price(fields.Decimal):
    """An amount in the shop's currency, with at most two decimals."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Decimal:
        number = Decimal(_number(value))
        if number.adjusted() > _MAX_EXPONENT:
            raise ValidationError("Is too large.")
        if number != 0 and (number.adjusted() < -_MAX_EXPONENT or number % CENT != 0):
            raise ValidationError("Must have at most 2 decimals.")
        return number.quantize(CENT)

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return None if value is None else float(value)


class Identifier(fields.UUID):
    """A UUID in canonical form."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> UUID:
        try:
            return parse_uuid(value)
        except ValueError:
            raise ValidationError("Must be a UUID.") from None


class Moment(fields.AwareDateTime):
    """A time in ISO 8601. Without an offset it is read as UTC; it is always written in UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", default_timezone=UTC, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        try:
            # fromisoformat stops at a NUL.
            moment = datetime.fromisoformat(value.replace("\0", "?"))
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (AttributeError, ValueError, OverflowError):
            raise ValidationError(
                "Must be a time in ISO 8601, like 2030-01-31T18:00:00Z."
            ) from None

    def _serialize(self, value: datetime | None, *args: Any, **kwargs: Any) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat()


def _number(value: Any) -> int | Decimal:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value
    raise ValidationError("Must be a number.")
