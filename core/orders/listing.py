"""Lists offers, for the shop and for their members."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, Select, case, func, select
from sqlalchemy.orm import Session

from core import errors
from core.members.accounts import require_account
from core.orders.places import OfferState
from core.postgres.database import Database
from core.postgres.models import BiddingSession, Offer, Product, Ranking, User

_NEWEST = (Offer.opened_at.desc(), Offer.id)


@dataclass(frozen=True, slots=True)
class OfferView:
    """An offer as the shop sees it. `email`: None if the account is gone."""

    offer_id: UUID
    session_id: UUID
    product_name: str
    user_id: UUID
    username: str
    email: str | None
    rank: int
    place: int
    price_to_pay: Decimal | None
    currency: str
    state: OfferState
    opened_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    version: int


class OfferLists:
    """Reads offers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_session(
        self, session_id: UUID, state: OfferState | None, *, page: int, page_size: int
    ) -> tuple[Sequence[OfferView], int]:
        """One page of a session's offers by rank, and the total count. Raises SessionNotFound."""
        chosen = [Offer.session_id == session_id]
        if state is not None:
            chosen.append(Offer.state == state.value)
        with self._database.begin() as db:
            if db.get(BiddingSession, session_id) is None:
                raise errors.SessionNotFound(session_id)
            return _page(db, chosen, [Offer.rank], page, page_size)

    def of_member(
        self, user_id: UUID, *, page: int, page_size: int
    ) -> tuple[Sequence[OfferView], int]:
        """One page of a member's offers, newest first, and the total count."""
        with self._database.begin() as db:
            require_account(db, user_id)
            return _page(db, [Offer.user_id == user_id], _NEWEST, page, page_size)

    def of_account(
        self, user_id: UUID, *, page: int, page_size: int
    ) -> tuple[Sequence[OfferView], int]:
        """The same for admins. Raises AccountNotFound."""
        with self._database.begin() as db:
            if db.get(User, user_id) is None:
                raise errors.AccountNotFound
            return _page(db, [Offer.user_id == user_id], _NEWEST, page, page_size)


def view_of(db: Session, offer_id: UUID) -> OfferView:
    """An offer as it is in this transaction."""
    return _view(db.execute(_views().where(Offer.id == offer_id)).mappings().one())


def _page(
    db: Session,
    chosen: Sequence[ColumnElement[bool]],
    order: Sequence[Any],
    page: int,
    page_size: int,
) -> tuple[Sequence[OfferView], int]:
    total = db.scalar(select(func.count()).select_from(Offer).where(*chosen)) or 0
    rows = db.execute(
        _views().where(*chosen).order_by(*order).limit(page_size).offset((page - 1) * page_size)
    )
    return [_view(row) for row in rows.mappings()], total


def _views() -> Select[*tuple[Any, ...]]:
    """Offers in the columns of an OfferView."""
    is_known = User.id.is_not(None) & User.erased_at.is_(None)
    return (
        select(
            Offer.id.label("offer_id"),
            Offer.session_id,
            Product.name.label("product_name"),
            Offer.user_id,
            User.shown_name().label("username"),
            case((is_known, User.email)).label("email"),
            Offer.rank,
            Offer.place,
            Ranking.price_to_pay,
            BiddingSession.currency,
            Offer.state,
            Offer.opened_at,
            Offer.expires_at,
            Offer.settled_at,
            Offer.version,
        )
        .join(
            Ranking,
            (Ranking.session_id == Offer.session_id) & (Ranking.user_id == Offer.user_id),
        )
        .join(BiddingSession, BiddingSession.id == Offer.session_id)
        .join(Product, Product.id == BiddingSession.product_id)
        .outerjoin(User, User.id == Offer.user_id)
    )


def _view(row: RowMapping) -> OfferView:
    return OfferView(**{**row, "state": OfferState(row["state"])})
