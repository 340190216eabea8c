"""Bids, boards and results."""

from marshmallow import Schema, fields

from core.rules.lifecycle import Status
from web.http.fields import (
    Flag,
    Identifier,
    Integer,
    Moment,
    Number,
    Price,
    Text,
)
from web.http.schemas.base import (
    PageQuery,
    RequestSchema,
    currency_field,
    final_price_field,
    price_field,
)


class BidRequest(RequestSchema):
    session_id = Identifier(required=True)
    price = price_field(required=True)
    only_if_better = Flag(
        load_default=False,
        metadata={
            "description": "Refuse the bid unless it scores more than your standing bid: "
            "a later bid is scored at its own time."
        },
    )


class OwnBidsQuery(PageQuery):
    session_id = Identifier(load_default=None, allow_none=False)


class PlacedBid(Schema):
    status = fields.Constant(
        "accepted", required=True, metadata={"type": "string", "enum": ["accepted"]}
    )
    session_id = Identifier(required=True)
    sequence = Integer(
        required=True, metadata={"description": "Position in the session's bid log, from 1."}
    )
    price = Price(required=True)
    score = Number(required=True)
    rank = Integer(required=True)
    response_time = Number(
        required=True, metadata={"description": "Seconds since the session's start."}
    )
    user_weight = Number(required=True)
    is_winning = fields.Boolean(required=True)
    accepted_at = Moment(required=True)
    replayed = fields.Boolean(
        required=True,
        metadata={"description": "The price equals the standing bid's; nothing changed."},
    )
    message = fields.String(required=True)


class Entry(Schema):
    rank = Integer(required=True)
    user_id = Identifier(required=True)
    username = Text(required=True)
    price = Price(required=True)
    score = Number(required=True)
    is_winner = fields.Boolean(required=True)


class ResultEntry(Entry):
    price_to_pay = Price(
        required=True,
        allow_none=True,
        metadata={"description": "What the member pays; null until an item is offered."},
    )


class Board(Schema):
    session_id = Identifier(required=True)
    status = fields.Enum(Status, by_value=True, required=True)
    provisional = fields.Boolean(required=True)
    leaderboard = fields.List(fields.Nested(Entry), required=True)
    highest_bid = Price(
        required=True,
        allow_none=True,
        metadata={"description": "The highest price that stands."},
    )
    threshold_score = Number(required=True, allow_none=True)
    page = Integer(required=True)
    page_size = Integer(required=True)
    total_count = Integer(required=True)
    total_pages = Integer(required=True)
    end_time = Moment(required=True)
    server_time = Moment(required=True)


class Standing(Schema):
    rank = Integer(required=True)
    score = Number(required=True)
    price = Price(required=True)
    is_winner = fields.Boolean(required=True)
    threshold_score = Number(required=True)
    total_count = Integer(required=True)


class Results(Schema):
    session_id = Identifier(required=True)
    product_id = Identifier(required=True)
    inventory = Integer(required=True)
    status = fields.Enum(Status, by_value=True, required=True)
    start_time = Moment(required=True)
    end_time = Moment(required=True)
    closed_at = Moment(required=True)
    currency = currency_field()
    final_price = final_price_field()
    total_bidders = Integer(required=True)
    total_winners = Integer(required=True)
    winners = fields.List(fields.Nested(ResultEntry), required=True)
    rankings = fields.List(fields.Nested(ResultEntry), required=True)
    page = Integer(required=True)
    page_size = Integer(required=True)
    total_pages = Integer(required=True)


class OwnBid(Schema):
    session_id = Identifier(required=True)
    sequence = Integer(required=True)
    price = Price(required=True)
    score = Number(required=True)
    response_time = Number(required=True)
    user_weight = Number(required=True)
    accepted_at = Moment(required=True)
