"""Offers: the shop settles them, members list and decline their own."""

from collections.abc import Sequence
from uuid import UUID

from flask import Blueprint

from core import errors
from core.orders.listing import OfferView
from core.orders.places import OfferState
from web.guards.operation import operation
from web.guards.tokens import Auth, current_user_id
from web.http import schemas
from web.state import services

blueprint = Blueprint("offers", __name__, url_prefix="/api")

_REFUSES = (errors.OfferNotFound, errors.OfferExpired, errors.OfferSettled)


@blueprint.get("/admin/sessions/<session_id>/offers")
@operation(
    auth=Auth.ADMIN,
    scope="orders:read",
    query=schemas.OffersQuery(),
    response=schemas.Offer(many=True),
    paged=True,
    refuses=(errors.SessionNotFound,),
)
def session_offers(
    session_id: UUID, state: str | None, page: int, page_size: int
) -> tuple[Sequence[OfferView], int]:
    """List a session's offers by rank."""
    chosen = OfferState(state) if state else None
    return services().offer_lists.of_session(session_id, chosen, page=page, page_size=page_size)


@blueprint.put("/admin/sessions/<session_id>/offers/<offer_id>/paid")
@operation(
    auth=Auth.ADMIN,
    scope="orders:write",
    response=schemas.Offer(),
    refuses=(errors.SessionNotFound, *_REFUSES),
)
def mark_offer_paid(session_id: UUID, offer_id: UUID) -> OfferView:
    """Mark an offer as paid before its deadline. Safe to repeat."""
    return services().offers.settle(session_id, offer_id, OfferState.PAID)


@blueprint.put("/admin/sessions/<session_id>/offers/<offer_id>/declined")
@operation(
    auth=Auth.ADMIN,
    scope="orders:write",
    response=schemas.Offer(),
    refuses=(errors.SessionNotFound, *_REFUSES),
)
def mark_offer_declined(session_id: UUID, offer_id: UUID) -> OfferView:
    """Decline an offer for its member; the place goes to the next rank. Safe to repeat."""
    return services().offers.settle(session_id, offer_id, OfferState.DECLINED)


@blueprint.put("/admin/sessions/<session_id>/offers/<offer_id>/withdrawn")
@operation(
    auth=Auth.ADMIN,
    scope="orders:write",
    body=schemas.Withdrawal(),
    response=schemas.Offer(),
    refuses=(errors.SessionNotFound, *_REFUSES),
)
def withdraw_offer(session_id: UUID, offer_id: UUID, hand_on: bool) -> OfferView:
    """Withdraw an open offer. Safe to repeat."""
    return services().offers.settle(session_id, offer_id, OfferState.WITHDRAWN, hand_on=hand_on)


@blueprint.get("/admin/members/<user_id>/offers")
@operation(
    auth=Auth.ADMIN,
    scope="orders:read",
    query=schemas.PageQuery(),
    response=schemas.Offer(many=True),
    paged=True,
    refuses=(errors.AccountNotFound,),
)
def member_offers(user_id: UUID, page: int, page_size: int) -> tuple[Sequence[OfferView], int]:
    """List a member's offers, newest first."""
    return services().offer_lists.of_account(user_id, page=page, page_size=page_size)


@blueprint.get("/offers")
@operation(
    auth=Auth.MEMBER,
    query=schemas.PageQuery(),
    response=schemas.OwnOffer(many=True),
    paged=True,
)
def own_offers(page: int, page_size: int) -> tuple[Sequence[OfferView], int]:
    """List your offers, newest first."""
    return services().offer_lists.of_member(current_user_id(), page=page, page_size=page_size)


@blueprint.put("/offers/<offer_id>/decline")
@operation(auth=Auth.MEMBER, response=schemas.OwnOffer(), refuses=_REFUSES)
def decline_offer(offer_id: UUID) -> OfferView:
    """Decline an offer of yours for good. Safe to repeat."""
    return services().offers.decline(current_user_id(), offer_id)
