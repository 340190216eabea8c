"""What members and the shop are told, and how it was sent."""

from typing import Any

from marshmallow import Schema, fields, validate

from core.notifications.endpoints import EndpointState
from core.notifications.inbox import NotificationKind
from core.notifications.outbox import DeliveryStatus
from core.notifications.shop_events import TEST, EventKind
from web.http.fields import (
    Flag,
    Identifier,
    Integer,
    Moment,
    Price,
    QueryFlag,
    Text,
)
from web.http.schemas.base import PageQuery, RequestSchema, currency_field

EVENTS = [kind.value for kind in EventKind]
KINDS = [kind.value for kind in NotificationKind]
DELIVERY_STATUSES = [status.value for status in DeliveryStatus]


class NotificationsQuery(PageQuery):
    unread = QueryFlag(load_default=False, metadata={"description": "Only unread notifications."})


class DeliveriesQuery(PageQuery):
    status = fields.String(
        load_default=None, allow_none=False, validate=validate.OneOf(DELIVERY_STATUSES)
    )


class WebhookDeliveriesQuery(DeliveriesQuery):
    endpoint_id = Identifier(load_default=None, allow_none=False)
    event = fields.String(
        load_default=None, allow_none=False, validate=validate.OneOf([*EVENTS, TEST])
    )


class Notification(Schema):
    notification_id = Identifier(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    session_id = Identifier(
        required=True,
        allow_none=True,
        metadata={"description": "Null for `webhook_disabled`, as the product and the currency."},
    )
    product_name = Text(required=True, allow_none=True)
    rank = Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Null unless it is about the member's result or offer."},
    )
    price = Price(required=True, allow_none=True)
    price_to_pay = Price(required=True, allow_none=True)
    currency = currency_field(allow_none=True)
    is_winner = fields.Boolean(required=True)
    message = fields.String(
        required=True, metadata={"description": "What has happened, in a sentence."}
    )
    pay_by = Moment(
        required=True,
        allow_none=True,
        metadata={"description": "The deadline of your offer while it is open."},
    )
    created_at = Moment(required=True)
    read_at = Moment(required=True, allow_none=True)


class Reminder(Schema):
    session_id = Identifier(required=True)
    start_time = Moment(required=True)
    name = Text(required=True)


class Channel(Schema):
    channel = fields.String(required=True, validate=validate.OneOf(["email", "webhook"]))
    is_on = fields.Boolean(required=True)
    waiting = Integer(required=True, metadata={"description": "Pending deliveries."})
    given_up = Integer(
        required=True, metadata={"description": "Deliveries that failed permanently."}
    )
    disabled_endpoints = Integer(
        required=True,
        metadata={"description": "Webhook endpoints that get nothing, because they failed."},
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
    endpoint_id = Identifier(
        required=True,
        allow_none=True,
        metadata={"description": "Null for a message of an earlier version, until it is sent."},
    )
    session_id = Identifier(
        required=True, allow_none=True, metadata={"description": "Null for `webhook.test`."}
    )
    event = fields.String(required=True)
    status = fields.Enum(DeliveryStatus, by_value=True, required=True)
    attempts = Integer(required=True)
    last_error = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    next_attempt_at = Moment(required=True, allow_none=True)
    delivered_at = Moment(required=True, allow_none=True)


def _events(**kwargs: Any) -> fields.List[str]:
    return fields.List(
        fields.String(validate=validate.OneOf(EVENTS)),
        validate=validate.Length(min=1, max=len(EVENTS)),
        **kwargs,
    )


class NewWebhookEndpoint(RequestSchema):
    url = Text(required=True, validate=validate.Length(min=1, max=2000))
    events = _events(required=True)


class WebhookEndpointChange(RequestSchema):
    url = Text(validate=validate.Length(min=1, max=2000))
    events = _events()
    paused = Flag()


class WebhookEndpoint(Schema):
    endpoint_id = Identifier(required=True)
    url = fields.String(
        required=True, allow_none=True, metadata={"description": "Null for that of WEBHOOK_URL."}
    )
    events = fields.List(fields.String(), required=True)
    state = fields.Enum(EndpointState, by_value=True, required=True)
    state_reason = fields.String(required=True, allow_none=True)
    state_since = Moment(required=True)
    failing_since = Moment(
        required=True,
        allow_none=True,
        metadata={"description": "The first failure after the last success."},
    )
    previous_secret_until = Moment(
        required=True,
        allow_none=True,
        metadata={"description": "Until then the secret before signs as well."},
    )
    created_at = Moment(required=True)


class WebhookEndpointSecret(Schema):
    endpoint = fields.Nested(WebhookEndpoint, required=True)
    secret = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Keep it: it is not shown again, and null in a repeated response."
        },
    )
