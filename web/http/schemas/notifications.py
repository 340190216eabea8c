"""What members and the shop are told, and how it was sent."""

from marshmallow import Schema, fields, validate

from core.notifications.announcing import NotificationKind
from core.notifications.outbox import DeliveryStatus
from web.http.fields import (
    Identifier,
    Integer,
    Moment,
    Price,
    QueryFlag,
    Text,
)
from web.http.schemas.base import PageQuery, currency_field

DELIVERY_STATUSES = [status.value for status in DeliveryStatus]


class NotificationsQuery(PageQuery):
    unread = QueryFlag(load_default=False, metadata={"description": "Only unread notifications."})


class DeliveriesQuery(PageQuery):
    status = fields.String(
        load_default=None, allow_none=False, validate=validate.OneOf(DELIVERY_STATUSES)
    )


class Notification(Schema):
    notification_id = Identifier(required=True)
    kind = fields.String(
        required=True, validate=validate.OneOf([kind.value for kind in NotificationKind])
    )
    session_id = Identifier(required=True)
    product_name = Text(required=True)
    rank = Integer(required=True)
    price = Price(required=True)
    price_to_pay = Price(required=True, allow_none=True)
    currency = currency_field()
    is_winner = fields.Boolean(required=True)
    message = fields.String(required=True, metadata={"description": "The outcome as a sentence."})
    pay_by = Moment(
        required=True,
        allow_none=True,
        metadata={"description": "The deadline of your offer while it is open."},
    )
    created_at = Moment(required=True)
    read_at = Moment(required=True, allow_none=True)


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
