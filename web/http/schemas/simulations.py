"""Simulated sales."""

from dataclasses import fields as dataclass_fields
from typing import Any

from marshmallow import Schema, fields, post_load, validate

from core.rules.scoring import MAX_COEFFICIENT
from core.rules.simulation import MAX_BIDS, USUAL_CROWD, Crowd
from core.rules.weighting import MAX_WEIGHT, NEW_MEMBER_WEIGHT
from web.http.fields import Identifier, Integer, Number, Price
from web.http.schemas.base import RequestSchema, price_field
from web.http.schemas.sales import MAX_DURATION_MINUTES, MAX_INVENTORY

_NO_PRICE = "Null where prices do not count."
_SECONDS_A_MINUTE = 60
_MAX_SEED = 2_147_483_647


def _coefficient() -> Number:
    return Number(validate=validate.Range(min=0, max=MAX_COEFFICIENT))


class NewSimulation(RequestSchema):
    """Terms that are not sent are the past session's, or the usual ones."""

    session_id = Identifier(
        load_default=None,
        allow_none=True,
        metadata={"description": "A past session, whose standing bids take a crowd's place."},
    )
    alpha = _coefficient()
    beta = _coefficient()
    gamma = _coefficient()
    upset_price = price_field()
    inventory = Integer(validate=validate.Range(1, MAX_INVENTORY))
    duration_minutes = Number(
        load_default=60.0,
        validate=validate.Range(min=0, min_inclusive=False, max=MAX_DURATION_MINUTES),
        metadata={"exclusiveMinimum": 0},
    )
    bidders = Integer(load_default=USUAL_CROWD.bidders, validate=validate.Range(1, MAX_BIDS))
    late_share = Number(
        load_default=USUAL_CROWD.late_share,
        validate=validate.Range(0, 1),
        metadata={"description": "Of the bidders, who come in the last tenth of the duration."},
    )
    lowest_price = price_field(load_default=USUAL_CROWD.lowest_price)
    highest_price = price_field(load_default=USUAL_CROWD.highest_price)
    largest_weight = Number(
        load_default=USUAL_CROWD.largest_weight,
        validate=validate.Range(NEW_MEMBER_WEIGHT, MAX_WEIGHT),
    )
    runs = Integer(
        load_default=USUAL_CROWD.runs,
        validate=validate.Range(1, MAX_BIDS),
        metadata={"description": f"Of new crowds; at most {MAX_BIDS:,} bids in all."},
    )
    seed = Integer(
        load_default=USUAL_CROWD.seed,
        validate=validate.Range(0, _MAX_SEED),
        metadata={"description": "The same seed makes the same crowds."},
    )

    @post_load
    def collect_crowd(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Collect the crowd into core's type; what is left are the terms."""
        session_id = data.pop("session_id")
        data["duration_seconds"] = data.pop("duration_minutes") * _SECONDS_A_MINUTE
        crowd = Crowd(**{field.name: data.pop(field.name) for field in dataclass_fields(Crowd)})
        return {"session_id": session_id, "crowd": crowd, "terms": data}


class SimulatedTerms(Schema):
    alpha = Number(required=True)
    beta = Number(required=True)
    gamma = Number(required=True)
    upset_price = Price(required=True)
    inventory = Integer(required=True)


class SecondWorth(Schema):
    response_time = Number(required=True)
    worth = Number(required=True, allow_none=True, metadata={"description": _NO_PRICE})


class SimulatedPlace(Schema):
    rank = Integer(required=True)
    sequence = Integer(required=True)
    price = Price(required=True)
    score = Number(required=True)
    response_time = Number(required=True)
    user_weight = Number(required=True, attribute="weight")
    is_winner = fields.Boolean(required=True)
    second_price = Price(
        required=True,
        allow_none=True,
        metadata={"description": "What a winner pays by second_score; null for losers."},
    )


class Simulation(Schema):
    terms = fields.Nested(SimulatedTerms, required=True)
    runs = Integer(required=True)
    bids = Integer(required=True, metadata={"description": "Ranked, in all runs."})
    refused = Integer(
        required=True, metadata={"description": "Bids below the starting price, in all runs."}
    )
    winners = Integer(required=True, metadata={"description": "In all runs."})
    highest_bid_losses = Integer(
        required=True, metadata={"description": "Runs in which a loser bid more than all winners."}
    )
    underbid_winners = Integer(
        required=True, metadata={"description": "Winners who bid less than some loser."}
    )
    revenue_as_bid = Price(required=True, metadata={"description": "Of an average run."})
    revenue_second_score = Price(required=True, metadata={"description": "Of an average run."})
    second_worth = fields.List(
        fields.Nested(SecondWorth),
        required=True,
        metadata={"description": "The price that bidding one second later costs, by moment."},
    )
    loyalty_worth = Number(
        required=True,
        allow_none=True,
        metadata={"description": f"The price that a weight of 5 is worth beside 1. {_NO_PRICE}"},
    )
    places = fields.List(
        fields.Nested(SimulatedPlace),
        required=True,
        metadata={"description": "Of the first run, at most 500 by rank."},
    )
