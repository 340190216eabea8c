"""The PostgreSQL schema. The rules that must hold whatever the code does stand here.

Money is numeric(12, 2); scores, weights and response times are doubles, because every
score must be recomputable bit for bit; moments are timestamptz in microseconds.
"""

from core.models.base import Base
from core.models.members import RevokedToken, User
from core.models.records import AdminAction, SessionEvent
from core.models.sales import Bid, BiddingSession, BidLogOffset, Product, Ranking
from core.models.telling import Announcement, Delivery, EmailDelivery, Notification, WebhookDelivery

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
