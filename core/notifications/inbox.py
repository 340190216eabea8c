"""Members' in-app notifications: listing them and marking them as read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Select, case, func, select, update

from core import errors
from core.members.accounts import require_account
from core.postgres.database import Database
from core.postgres.models import BiddingSession, Notification, Offer, Product, Ranking
from core.rules import scoring


class NotificationKind(StrEnum):
    """The kinds of notifications: of each a member has at most one a session."""

    SESSION_ENDED = "session_ended"
    SESSION_CANCELLED = "session_cancelled"
    # A place came free after the end and is offered to the member.
    OFFER_OPENED = "offer_opened"
    # The member's offer has expired, or the shop has withdrawn it.
    OFFER_ENDED = "offer_ended"
    OUTBID = "outbid"
    STARTING = "starting"
    # For admins.
    WEBHOOK_DISABLED = "webhook_disabled"


# About the member's own rank, price and offer.
_OF_RESULTS = (
    NotificationKind.SESSION_ENDED,
    NotificationKind.OFFER_OPENED,
    NotificationKind.OFFER_ENDED,
)
_SENTENCES = {
    NotificationKind.SESSION_CANCELLED: "The sale of {it.product_name} was cancelled: "
    "{it.cancel_reason}",
    NotificationKind.OFFER_OPENED: "{it.product_name} came free for you at rank {it.rank}."
    "{it.pays}",
    NotificationKind.OUTBID: "You were outbid in {it.product_name}: your bid no longer wins.",
    NotificationKind.STARTING: "{it.product_name} starts soon, at {it.starts_at}.",
    NotificationKind.WEBHOOK_DISABLED: "A webhook endpoint was disabled because it failed. Its "
    "state_reason says why.",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification. Rank and prices are the member's, in those about results and offers;
    session, product, currency and inventory are None in those about no session.
    """

    notification_id: UUID
    kind: str
    session_id: UUID | None
    product_name: str | None
    rank: int | None
    price: Decimal | None
    price_to_pay: Decimal | None
    currency: str | None
    inventory: int | None
    created_at: datetime
    read_at: datetime | None
    # The deadline of the member's offer while it is open.
    pay_by: datetime | None = None
    offer_state: str | None = None
    cancel_reason: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None

    @property
    def is_winner(self) -> bool:
        """Whether the member won an item."""
        return (
            self.rank is not None
            and self.inventory is not None
            and scoring.is_winning(self.rank, self.inventory)
        )

    @property
    def message(self) -> str:
        """What has happened, in a sentence."""
        match self.kind:
            case NotificationKind.SESSION_ENDED:
                return self._result
            case NotificationKind.OFFER_ENDED:
                return self._ended_offer
        return _SENTENCES[NotificationKind(self.kind)].format(it=self)

    @property
    def pays(self) -> str:
        """What the member pays until when, as far as it was offered."""
        if self.price_to_pay is None:
            return ""
        by = f" by {utc(self.pay_by)}" if self.pay_by else ""
        return f" You pay {self.price_to_pay} {self.currency}{by}."

    @property
    def starts_at(self) -> str:
        """When the session starts."""
        return utc(self.start_time)

    def is_overtaken(self, now: datetime) -> bool:
        """Whether it is too late to act on it: it is not worth an e-mail any more."""
        limits = {
            NotificationKind.OUTBID: self.end_time,
            NotificationKind.STARTING: self.start_time,
        }
        limit = limits.get(NotificationKind(self.kind))
        return limit is not None and (now >= limit or self.cancel_reason is not None)

    @property
    def _result(self) -> str:
        bid = f"rank {self.rank} with your bid of {self.price} {self.currency}"
        if self.is_winner:
            return f"You won {self.product_name}: {bid}.{self.pays}"
        places = "place" if self.inventory == 1 else f"{self.inventory} places"
        return f"You did not win {self.product_name}: {bid}; the first {places} won."

    @property
    def _ended_offer(self) -> str:
        if self.offer_state == "withdrawn":
            return f"The shop has withdrawn its offer of {self.product_name} to you."
        return f"Your offer of {self.product_name} has expired: it was not paid in time."


def utc(moment: datetime | None) -> str:
    """A time for a sentence."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else ""


class Notifications:
    """Lists members' notifications and marks them as read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_member(
        self, user_id: UUID, *, unread_only: bool, page: int, page_size: int
    ) -> tuple[Sequence[Notice], int]:
        """One page of a member's notifications, newest first, and the total count."""
        # One of a newer version, which ran before this one, has no sentence here.
        own = [Notification.user_id == user_id, Notification.kind.in_(list(NotificationKind))]
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
    """Notifications with what they are about, in the columns of a Notice."""
    is_of_results = Notification.kind.in_(_OF_RESULTS)
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
            BiddingSession.start_time,
            BiddingSession.end_time,
            Notification.created_at,
            Notification.read_at,
            Offer.state.label("offer_state"),
            case((Offer.state == "open", Offer.expires_at)).label("pay_by"),
        )
        .outerjoin(
            Ranking,
            is_of_results
            & (Ranking.session_id == Notification.session_id)
            & (Ranking.user_id == Notification.user_id),
        )
        .outerjoin(
            Offer,
            is_of_results
            & (Offer.session_id == Notification.session_id)
            & (Offer.user_id == Notification.user_id),
        )
        .outerjoin(BiddingSession, BiddingSession.id == Notification.session_id)
        .outerjoin(Product, Product.id == BiddingSession.product_id)
    )
