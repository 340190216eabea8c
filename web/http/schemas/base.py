"""What requests have in common."""

from typing import Any

from marshmallow import EXCLUDE, Schema, fields, validate

from core.rules.scoring import MAX_PRICE
from web.http.fields import (
    CENT,
    CONTROL_CHARACTERS,
    Price,
    QueryInteger,
    Text,
)

MAX_PAGE = 1_000_000_000


class RequestSchema(Schema):
    """Unknown fields are ignored, so that existing clients keep working."""

    error_messages = {"type": "Must be a JSON object."}  # noqa: RUF012 - as marshmallow declares it

    class Meta:
        unknown = EXCLUDE


# No blank names, and no two that differ only in a space at the end. `Text` already refuses
# control characters; the pattern repeats them for the OpenAPI document.
no_outer_spaces = validate.Regexp(
    rf"^[^\s{CONTROL_CHARACTERS}]([^{CONTROL_CHARACTERS}]*[^\s{CONTROL_CHARACTERS}])?$",
    error="Must not start or end with a space.",
)


def price_field(**kwargs: Any) -> Price:
    """A price that a request may have."""
    return Price(validate=validate.Range(min=CENT, max=MAX_PRICE), **kwargs)


def final_price_field() -> Price:
    return Price(
        required=True,
        allow_none=True,
        metadata={
            "description": "The bid of the last winner by rank, whatever winners pay; null without "
            "bids. Better ranks may have bid less."
        },
    )


def currency_field(**kwargs: Any) -> fields.String:
    """The currency of the prices beside it."""
    return fields.String(required=True, metadata={"description": "ISO 4217 code."}, **kwargs)


def search_field(description: str) -> Text:
    """Part of a name, in any case; everything matches an empty one."""
    return Text(
        load_default="",
        validate=validate.Length(max=100),
        metadata={"description": description},
    )


class PageQuery(RequestSchema):
    page = QueryInteger(load_default=1, validate=validate.Range(1, MAX_PAGE))
    page_size = QueryInteger(load_default=50, validate=validate.Range(1, 100))
