"""Schemas of requests and responses. The OpenAPI document is generated from them."""

import dataclasses
from datetime import timedelta
from typing import Any

from marshmallow import EXCLUDE, Schema, fields, post_load, validate

from core.notifications.announcing import NotificationKind
from core.notifications.outbox import DeliveryStatus
from core.operations.admin_log import ActionOutcome
from core.operations.health import DATABASE_STATES, REDIS_STATES
from core.rules.lifecycle import Status
from core.rules.scoring import MAX_COEFFICIENT, MAX_PRICE
from core.sessions.sessions import Terms
from web.http.fields import (
    CENT,
    CONTROL_CHARACTERS,
    EmailAddress,
    Flag,
    Identifier,
    Integer,
    Moment,
    NewPassword,
    Number,
    Price,
    QueryFlag,
    QueryInteger,
    Text,
    Title,
    Username,
)

MAX_PAGE = 1_000_000_000
MAX_INVENTORY = 2_147_483_647
MAX_DURATION_MINUTES = 43_200

STATUSES = [status.value for status in Status]
DELIVERY_STATUSES = [status.value for status in DeliveryStatus]


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


def _price(**kwargs: Any) -> Price:
    return Price(validate=validate.Range(min=CENT, max=MAX_PRICE), **kwargs)


def _coefficient(default: float) -> Number:
    return Number(load_default=default, validate=validate.Range(min=0, max=MAX_COEFFICIENT))


# Requests


class Registration(RequestSchema):
    username = Username(
        required=True,
        validate=[validate.Length(3, 50), no_outer_spaces],
        metadata={
            "description": "Letters of one script, digits, ASCII signs, spaces between words. "
            "Case, width, composition and the number of spaces make no other name."
        },
    )
    email = EmailAddress(
        required=True,
        validate=validate.Length(max=254),
        metadata={"format": "email", "description": "The domain is stored in IDNA."},
    )
    password = NewPassword(
        required=True,
        load_only=True,
        validate=validate.Length(6, 128),
        metadata={
            "format": "password",
            "description": "The shop may ask for more characters, and refuse common passwords.",
        },
    )


class Login(RequestSchema):
    username = Text(required=True)
    password = Text(required=True, load_only=True, metadata={"format": "password"})


class NewProduct(RequestSchema):
    name = Title(required=True, validate=[validate.Length(1, 200), no_outer_spaces])
    description = Text(
        load_default=None, allow_none=True, multiline=True, validate=validate.Length(max=1000)
    )


class SessionTerms(RequestSchema):
    upset_price = _price(
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


class BidRequest(RequestSchema):
    session_id = Identifier(required=True)
    price = _price(required=True)
    only_if_better = Flag(
        load_default=False,
        metadata={
            "description": "Refuse the bid unless it scores more than your standing bid: "
            "a later bid is scored at its own time."
        },
    )


class PageQuery(RequestSchema):
    page = QueryInteger(load_default=1, validate=validate.Range(1, MAX_PAGE))
    page_size = QueryInteger(load_default=50, validate=validate.Range(1, 100))


class SessionsQuery(PageQuery):
    status = fields.String(load_default=None, allow_none=False, validate=validate.OneOf(STATUSES))


class OwnBidsQuery(PageQuery):
    session_id = Identifier(load_default=None, allow_none=False)


class NotificationsQuery(PageQuery):
    unread = QueryFlag(load_default=False, metadata={"description": "Only unread notifications."})


class DeliveriesQuery(PageQuery):
    status = fields.String(
        load_default=None, allow_none=False, validate=validate.OneOf(DELIVERY_STATUSES)
    )


# Responses


class Account(Schema):
    user_id = Identifier(required=True)
    username = Text(required=True)
    email = Text(required=True)
    is_admin = fields.Boolean(required=True)
    weight = Number(required=True)
    created_at = Moment(required=True)


class AccountWithToken(Account):
    token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.Equal("Bearer"))
    expires_in = Integer(required=True, metadata={"description": "Seconds."})


class Product(Schema):
    product_id = Identifier(required=True)
    id = Identifier(
        required=True,
        metadata={"description": "Same as product_id, as clients of the original read it."},
    )
    name = Text(required=True)
    description = Text(required=True, allow_none=True, multiline=True)
    created_at = Moment(required=True)


class Session(Schema):
    session_id = Identifier(required=True)
    product_id = Identifier(required=True)
    name = Text(required=True)
    description = Text(required=True, allow_none=True, multiline=True)
    upset_price = Price(required=True)
    base_price = Price(required=True, metadata={"description": "Same as upset_price."})
    inventory = Integer(required=True)
    alpha = Number(required=True)
    beta = Number(required=True)
    gamma = Number(required=True)
    allow_lower_bids = fields.Boolean(required=True)
    start_time = Moment(required=True)
    end_time = Moment(required=True)
    status = fields.Enum(Status, by_value=True, required=True)
    is_active = fields.Boolean(required=True)
    final_price = Price(required=True, allow_none=True)


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
    final_price = Price(required=True, allow_none=True)
    total_bidders = Integer(required=True)
    total_winners = Integer(required=True)
    winners = fields.List(fields.Nested(Entry), required=True)
    rankings = fields.List(fields.Nested(Entry), required=True)
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


class Notification(Schema):
    notification_id = Identifier(required=True)
    kind = fields.String(
        required=True, validate=validate.OneOf([kind.value for kind in NotificationKind])
    )
    session_id = Identifier(required=True)
    product_name = Text(required=True)
    rank = Integer(required=True)
    price = Price(required=True)
    is_winner = fields.Boolean(required=True)
    message = fields.String(required=True, metadata={"description": "The outcome as a sentence."})
    created_at = Moment(required=True)
    read_at = Moment(required=True, allow_none=True)


class Stats(Schema):
    total_users = Integer(required=True)
    total_products = Integer(required=True)
    active_sessions = Integer(required=True)
    total_bids = Integer(required=True)
    sessions = fields.Dict(
        keys=fields.String(),
        values=Integer(),
        required=True,
        metadata={"description": "Number of sessions by status."},
    )
    bids_accepted = Integer(required=True)
    bids_persisted = Integer(required=True)
    persist_backlog = Integer(
        required=True, metadata={"description": "Accepted bids not yet in PostgreSQL."}
    )


class Channel(Schema):
    channel = fields.String(required=True, validate=validate.OneOf(["email", "webhook"]))
    is_on = fields.Boolean(required=True)
    waiting = Integer(required=True, metadata={"description": "Pending deliveries."})
    given_up = Integer(
        required=True, metadata={"description": "Deliveries that failed permanently."}
    )


class EmailDelivery(Schema):
    delivery_id = Identifier(
        required=True, metadata={"description": "Equals the notification's id."}
    )
    session_id = Identifier(required=True)
    user_id = Identifier(required=True)
    status = fields.Enum(DeliveryStatus, by_value=True, required=True)
    attempts = Integer(required=True)
    last_error = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    next_attempt_at = Moment(required=True, allow_none=True)
    delivered_at = Moment(required=True, allow_none=True)


class WebhookDelivery(Schema):
    delivery_id = Identifier(
        required=True, metadata={"description": "Equals the `webhook-id` header."}
    )
    session_id = Identifier(required=True)
    event = fields.String(required=True)
    status = fields.Enum(DeliveryStatus, by_value=True, required=True)
    attempts = Integer(required=True)
    last_error = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    next_attempt_at = Moment(required=True, allow_none=True)
    delivered_at = Moment(required=True, allow_none=True)


class AdminAction(Schema):
    action_id = Integer(required=True, attribute="id")
    created_at = Moment(required=True)
    actor = Text(required=True)
    actor_id = Identifier(
        required=True, allow_none=True, metadata={"description": "Null for the command line."}
    )
    action = fields.String(required=True)
    details = fields.Dict(required=True, metadata={"description": "Arguments and created ids."})
    outcome = fields.String(
        required=True,
        validate=validate.OneOf([done.value for done in ActionOutcome]),
        metadata={"description": "`asked`: the process ended before the outcome was recorded."},
    )


class Health(Schema):
    status = fields.String(required=True, validate=validate.OneOf(["healthy", "degraded"]))
    database = fields.String(required=True, validate=validate.OneOf(DATABASE_STATES))
    redis = fields.String(required=True, validate=validate.OneOf(REDIS_STATES))
    persist_backlog = fields.String(
        required=True, validate=validate.OneOf(["ok", "half_full", "full", "unknown"])
    )


class Readiness(Schema):
    status = fields.String(required=True, validate=validate.OneOf(["ready"]))


class Problem(Schema):
    """An error (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = Integer(required=True)
    detail = fields.String(required=True, metadata={"description": "Explanation for people."})
    code = fields.String(
        required=True, metadata={"description": "Stable error code for programs to branch on."}
    )
    request_id = fields.String(required=True)
    errors = fields.Dict(metadata={"description": "For validation_failed: messages by field."})
    upset_price = Price(metadata={"description": "For price_below_upset: the starting price."})
    standing_price = Price(
        metadata={"description": "For price_below_standing: the price that can only be raised."}
    )
    score = Number(metadata={"description": "For score_would_drop: the score of this bid now."})
    standing_score = Number(
        metadata={"description": "For score_would_drop: the score of your standing bid."}
    )
