"""Members' in-app notifications: listing them and marking them as read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Select, case, func, select, update

from core import errors
from core.members.accounts import require_account
from core.postgres.database import Database
from core.postgres.models import BiddingSession, Notification, Offer, Product, Ranking
from core.rules import scoring

# A place came free after the end and is offered to the member.
OFFER_OPENED = "offer_opened"


@dataclass(frozen=True, slots=True)
class Notice:
    """How a session ended for one member. A cancelled one has no rank and no price."""

    notification_id: UUID
    kind: str
    session_id: UUID
    product_name: str
    rank: int | None
    price: Decimal | None
    price_to_pay: Decimal | None
    currency: str
    inventory: int
    created_at: datetime
    read_at: datetime | None
    # The deadline of the member's offer while it is open.
    pay_by: datetime | None = None
    cancel_reason: str | None = None

    @property
    def is_winner(self) -> bool:
        """Whether the member won an item."""
        return self.rank is not None and scoring.is_winning(self.rank, self.inventory)

    @property
    def message(self) -> str:
        """The outcome in a sentence."""
        if self.rank is None:
            return f"The sale of {self.product_name} was cancelled: {self.cancel_reason}"
        if self.kind == OFFER_OPENED:
            return f"{self.product_name} came free for you at rank {self.rank}.{self._pays}"
        bid = f"rank {self.rank} with your bid of {self.price} {self.currency}"
        if self.is_winner:
            return f"You won {self.product_name}: {bid}.{self._pays}"
        places = "place" if self.inventory == 1 else f"{self.inventory} places"
        return f"You did not win {self.product_name}: {bid}; the first {places} won."

    @property
    def _pays(self) -> str:
        """What the member pays until when, as far as it was offered."""
        if self.price_to_pay is None:
            return ""
        by = f" by {self.pay_by.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.pay_by else ""
        return f" You pay {self.price_to_pay} {self.currency}{by}."


class Notifications:
    """Lists members' notifications and marks them as read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_member(
        self, user_id: UUID, *, unread_only: bool, page: int, page_size: int
    ) -> tuple[Sequence[Notice], int]:
        """One page of a member's notifications, newest first, and the total count."""
        own = [Notification.user_id == user_id]
        if unread_only:
            own.append(Notification.read_at.is_(None))
        newest = notices().where(*own).order_by(Notification.created_at.desc(), Notification.id)
        with self._database.begin() as db:
            require_account(db, user_id)
            total = db.scalar(select(func.count()).select_from(Notification).where(*own)) or 0
            rows = db.execute(newest.limit(page_size).offset((page - 1) * page_size))
            return [Notice(**row) for row in rows.mappings()], total

    def mark_read(self, user_id: UUID, notification_id: UUID) -> None:
        """Mark one as read. Safe to repeat; the first time is kept."""
        with self._database.begin() as db:
            require_account(db, user_id)
            marked = db.scalar(
                update(Notification)
                .where(Notification.id == notification_id, Notification.user_id == user_id)
                .values(read_at=func.coalesce(Notification.read_at, func.now()))
                .returning(Notification.id)
            )
        if marked is None:
            raise errors.NotificationNotFound

    def mark_all_read(self, user_id: UUID) -> None:
        """Mark all current ones as read."""
        with self._database.begin() as db:
            require_account(db, user_id)
            db.execute(
                update(Notification)
                .where(Notification.user_id == user_id, Notification.read_at.is_(None))
                .values(read_at=func.now())
            )


def notices() -> Select[*tuple[Any, ...]]:
    """Notifications joined with their results, if they have any, in the columns of a Notice."""
    return (
        select(
            Notification.id.label("notification_id"),
            Notification.kind,
            Notification.session_id,
            Product.name.label("product_name"),
            Ranking.rank,
            Ranking.price,
            Ranking.price_to_pay,
            BiddingSession.currency,
            BiddingSession.inventory,
            BiddingSession.cancel_reason,
            Notification.created_at,
            Notification.read_at,
            case((Offer.state == "open", Offer.expires_at)).label("pay_by"),
        )
        .outerjoin(
            Ranking,
            (Ranking.session_id == Notification.session_id)
            & (Ranking.user_id == Notification.user_id),
        )
        .outerjoin(
            Offer,
            (Offer.session_id == Notification.session_id) & (Offer.user_id == Notification.user_id),
        )
        .join(BiddingSession, BiddingSession.id == Notification.session_id)
        .join(Product, Product.id == BiddingSession.product_id)
    )
