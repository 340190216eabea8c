"""Schemas of requests and responses. The OpenAPI document is generated from them."""

from web.http.schemas.accounts import Account, AccountWithToken, Login, NewApiKey, Registration
from web.http.schemas.base import PageQuery, RequestSchema
from web.http.schemas.bidding import (
    BidRequest,
    Board,
    Entry,
    OwnBid,
    OwnBidsQuery,
    PlacedBid,
    ResultEntry,
    Results,
    Standing,
)
from web.http.schemas.notifications import (
    Channel,
    DeliveriesQuery,
    EmailDelivery,
    Notification,
    NotificationsQuery,
    WebhookDelivery,
)
from web.http.schemas.offers import Offer, OffersQuery, OwnOffer, Withdrawal
from web.http.schemas.sales import (
    NewProduct,
    NewProductAndSession,
    NewSession,
    Product,
    Session,
    SessionsQuery,
    SessionTerms,
)
from web.http.schemas.service import AdminAction, Health, Problem, Readiness, Stats

__all__ = [
    "Account",
    "AccountWithToken",
    "AdminAction",
    "BidRequest",
    "Board",
    "Channel",
    "DeliveriesQuery",
    "EmailDelivery",
    "Entry",
    "Health",
    "Login",
    "NewApiKey",
    "NewProduct",
    "NewProductAndSession",
    "NewSession",
    "Notification",
    "NotificationsQuery",
    "Offer",
    "OffersQuery",
    "OwnBid",
    "OwnBidsQuery",
    "OwnOffer",
    "PageQuery",
    "PlacedBid",
    "Problem",
    "Product",
    "Readiness",
    "Registration",
    "RequestSchema",
    "ResultEntry",
    "Results",
    "Session",
    "SessionTerms",
    "SessionsQuery",
    "Standing",
    "Stats",
    "WebhookDelivery",
    "Withdrawal",
]
