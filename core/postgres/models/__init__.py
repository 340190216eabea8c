"""The PostgreSQL schema. The rules that must hold whatever the code does stand here.

Money is numeric(12, 2); scores, weights and response times are doubles, because every
score must be recomputable bit for bit; moments are timestamptz in microseconds.
"""

from core.postgres.models.base import Base
from core.postgres.models.members import RevokedToken, User
from core.postgres.models.records import AdminAction, SessionEvent
from core.postgres.models.sales import Bid, BiddingSession, BidLogOffset, Product, Ranking
from core.postgres.models.telling import (
    Announcement,
    Delivery,
    EmailDelivery,
    Notification,
    WebhookDelivery,
)

__all__ = [
    "AdminAction",
    "Announcement",
    "Base",
    "Bid",
    "BidLogOffset",
    "BiddingSession",
    "Delivery",
    "EmailDelivery",
    "Notification",
    "Product",
    "Ranking",
    "RevokedToken",
    "SessionEvent",
    "User",
    "WebhookDelivery",
]
