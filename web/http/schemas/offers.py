"""Offers, as the shop and their members see them."""

from marshmallow import Schema, fields, validate

from core.orders.places import OfferState
from web.http.fields import Flag, Identifier, Integer, Moment, Price, Text
from web.http.schemas.base import PageQuery, RequestSchema, currency_field


class OffersQuery(PageQuery):
    state = fields.String(
        load_default=None,
        allow_none=False,
        validate=validate.OneOf([state.value for state in OfferState]),
    )


class Withdrawal(RequestSchema):
    hand_on = Flag(
        required=True,
        metadata={
            "description": "Whether the place goes to the next rank; if not, it leaves the sale."
        },
    )


class OwnOffer(Schema):
    offer_id = Identifier(required=True)
    session_id = Identifier(required=True)
    product_name = Text(required=True)
    rank = Integer(required=True)
    place = Integer(required=True, metadata={"description": "Which of the session's items."})
    price_to_pay = Price(required=True, allow_none=True)
    currency = currency_field()
    state = fields.Enum(OfferState, by_value=True, required=True)
    opened_at = Moment(required=True)
    expires_at = Moment(
        required=True, metadata={"description": "The deadline: paid in time is before it."}
    )
    settled_at = Moment(required=True, allow_none=True)
    version = Integer(required=True, metadata={"description": "Counts the offer's changes."})


class Offer(OwnOffer):
    user_id = Identifier(required=True)
    username = Text(required=True)
    email = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "null if the account is gone."},
    )
