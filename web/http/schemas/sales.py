"""Products and sessions."""

import dataclasses
from datetime import timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing, post_load, validate

from core.rules.images import MAX_URL_LENGTH
from core.rules.lifecycle import Status
from core.rules.pricing import DEFAULT_OFFER_MINUTES, MAX_OFFER_MINUTES, Pricing
from core.rules.scoring import MAX_COEFFICIENT
from core.sessions.sessions import Terms
from web.http.fields import (
    Flag,
    Identifier,
    Integer,
    Moment,
    Number,
    Price,
    Text,
    Title,
)
from web.http.schemas.base import (
    PageQuery,
    RequestSchema,
    currency_field,
    final_price_field,
    no_outer_spaces,
    price_field,
    search_field,
)

MAX_INVENTORY = 2_147_483_647
MAX_VERSION = 2_147_483_647
MAX_DURATION_MINUTES = 43_200
PRICINGS = [pricing.value for pricing in Pricing]
STATUSES = [status.value for status in Status]
NEWEST, SOONEST = "newest", "soonest"


def _coefficient(default: float) -> Number:
    return Number(load_default=default, validate=validate.Range(min=0, max=MAX_COEFFICIENT))


class NewProduct(RequestSchema):
    name = Title(required=True, validate=[validate.Length(1, 200), no_outer_spaces])
    description = Text(
        load_default=None, allow_none=True, multiline=True, validate=validate.Length(max=1000)
    )
    image_url = Text(
        load_default=None,
        allow_none=True,
        validate=validate.Length(max=MAX_URL_LENGTH),
        metadata={"description": "An https URL on one of the hosts in IMAGE_HOSTS."},
    )


class SessionTerms(RequestSchema):
    upset_price = price_field(
        required=True, metadata={"description": "Starting price: bids below it are refused."}
    )
    inventory = Integer(required=True, validate=validate.Range(1, MAX_INVENTORY))
    alpha = _coefficient(0.5)
    beta = _coefficient(1000.0)
    gamma = _coefficient(2.0)
    allow_lower_bids = Flag(
        metadata={
            "description": "Whether members may lower their standing price. "
            "Default: the setting ALLOW_LOWER_BIDS."
        },
    )
    duration_minutes = Number(
        load_default=60.0,
        validate=validate.Range(min=0, min_inclusive=False, max=MAX_DURATION_MINUTES),
        # apispec describes every lower bound as inclusive.
        metadata={"exclusiveMinimum": 0},
    )
    start_time = Moment(
        load_default=None,
        allow_none=True,
        metadata={"description": "Default: now. A time in the future schedules the session."},
    )

    pricing = fields.String(
        load_default=Pricing.PAY_AS_BID.value,
        validate=validate.OneOf(PRICINGS),
        metadata={
            "description": "What winners pay: their bids, or the lowest price with which they "
            "would still have won."
        },
    )
    offer_minutes = Number(
        load_default=DEFAULT_OFFER_MINUTES,
        validate=validate.Range(min=0, min_inclusive=False, max=MAX_OFFER_MINUTES),
        metadata={"exclusiveMinimum": 0, "description": "How long an offer of an item stands."},
    )
    offers_end = Moment(
        load_default=None,
        allow_none=True,
        metadata={"description": "After it no item is offered again. After the session's end."},
    )

    @post_load
    def collect_terms(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Collect the terms into core's type."""
        data["duration"] = timedelta(minutes=data.pop("duration_minutes"))
        names = {field.name for field in dataclasses.fields(Terms)} & data.keys()
        terms = Terms(**{name: data.pop(name) for name in names})
        return {**data, "terms": terms}


class NewSession(SessionTerms):
    product_id = Identifier(required=True)


class NewProductAndSession(NewProduct, SessionTerms):
    pass


class SessionChanges(NewProductAndSession):
    """Any of the fields; what is not sent stays."""

    version = Integer(
        required=True,
        validate=validate.Range(1, MAX_VERSION),
        metadata={"description": "The session's version that the changes are meant for."},
    )
    end_time = Moment(metadata={"description": "In place of `duration_minutes`."})

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Nothing is required but the version, and nothing has a default."""
        if field_name != "version":
            field_obj.required = False
            field_obj.load_default = missing

    @post_load
    def collect_terms(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Collect what was sent, by the names of core's terms."""
        if "duration_minutes" in data:
            if "end_time" in data:
                raise ValidationError("Send either duration_minutes or end_time.", "end_time")
            data["duration"] = timedelta(minutes=data.pop("duration_minutes"))
        return {"version": data.pop("version"), "changes": data}


class Cancellation(RequestSchema):
    reason = Text(
        required=True,
        validate=[validate.Length(1, 500), no_outer_spaces],
        metadata={"description": "Bidders are told."},
    )
    version = Integer(load_default=None, validate=validate.Range(1, MAX_VERSION))


class SessionsQuery(PageQuery):
    status = fields.String(load_default=None, allow_none=False, validate=validate.OneOf(STATUSES))


class OrderedSessionsQuery(SessionsQuery):
    order = fields.String(
        load_default=NEWEST,
        allow_none=False,
        validate=validate.OneOf([NEWEST, SOONEST]),
        metadata={
            "description": "`newest`: latest start first. `soonest`: those that have started by "
            "their end, those to come by their start, then those that are over, the latest first."
        },
    )


class SearchedSessionsQuery(SessionsQuery):
    search = search_field("Part of the name.")


class Product(Schema):
    product_id = Identifier(required=True)
    id = Identifier(
        required=True,
        metadata={"description": "Same as product_id, as clients of the original read it."},
    )
    name = Text(required=True)
    description = Text(required=True, allow_none=True, multiline=True)
    image_url = Text(required=True, allow_none=True)
    created_at = Moment(required=True)


class Session(Schema):
    session_id = Identifier(required=True)
    product_id = Identifier(required=True)
    name = Text(required=True)
    description = Text(required=True, allow_none=True, multiline=True)
    image_url = Text(required=True, allow_none=True)
    upset_price = Price(required=True)
    base_price = Price(required=True, metadata={"description": "Same as upset_price."})
    inventory = Integer(required=True)
    alpha = Number(required=True)
    beta = Number(required=True)
    gamma = Number(required=True)
    allow_lower_bids = fields.Boolean(required=True)
    pricing = fields.String(required=True, validate=validate.OneOf(PRICINGS))
    offer_minutes = Number(required=True)
    offers_end = Moment(required=True, allow_none=True)
    currency = currency_field()
    start_time = Moment(required=True)
    end_time = Moment(required=True)
    status = fields.Enum(Status, by_value=True, required=True)
    is_active = fields.Boolean(required=True)
    final_price = final_price_field()
    version = Integer(required=True, metadata={"description": "Counts the session's changes."})
    cancelled_at = Moment(required=True, allow_none=True)
    cancel_reason = Text(required=True, allow_none=True)
