"""The PostgreSQL schema, with the constraints that must hold whatever the code does.

Money is numeric(12, 2). Scores, weights and response times are doubles, so that scores can
be recomputed bit for bit. Times are timestamptz, to the microsecond.
"""

from core.postgres.models.base import Base
from core.postgres.models.members import DELETED_MEMBER, ApiKey, DeletedAccount, RevokedToken, User
from core.postgres.models.notifications import (
    MAX_ERROR_LENGTH,
    Announcement,
    Delivery,
    EmailDelivery,
    Notification,
    Reminder,
    ShopEvent,
    WebhookDelivery,
    WebhookEndpoint,
    WinnersMark,
)
from core.postgres.models.orders import Export, Offer, PassedOver
from core.postgres.models.records import AdminAction, Archive, SessionEvent, StoredResponse
from core.postgres.models.sales import Bid, BiddingSession, BidLogOffset, Product, Ranking

__all__ = [
    "DELETED_MEMBER",
    "MAX_ERROR_LENGTH",
    "AdminAction",
    "Announcement",
    "ApiKey",
    "Archive",
    "Base",
    "Bid",
    "BidLogOffset",
    "BiddingSession",
    "DeletedAccount",
    "Delivery",
    "EmailDelivery",
    "Export",
    "Notification",
    "Offer",
    "PassedOver",
    "Product",
    "Ranking",
    "Reminder",
    "RevokedToken",
    "SessionEvent",
    "ShopEvent",
    "StoredResponse",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WinnersMark",
]
