"""The rows of exports, and in which parts they are read."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Select, case, func, select

from core.postgres.database import Database
from core.postgres.models import Bid, BiddingSession, Offer, Ranking, User

# A part takes a second or two: far below export_files.MAX_PART_SECONDS, also on a busy server.
PART_BIDS = 250_000


class Kind(StrEnum):
    """What an export holds."""

    RESULTS = "results"
    BIDS = "bids"
    OFFERS = "offers"


def parts(database: Database, session_id: UUID, kind: Kind) -> Iterator[Select[*tuple[Any, ...]]]:
    """The rows of an export. Only bids are read in several parts: there is no bound on them."""
    if kind is Kind.BIDS:
        return _parts_of_bids(database, session_id)
    return iter([results(session_id) if kind is Kind.RESULTS else offers(session_id)])


def results(session_id: UUID) -> Select[*tuple[Any, ...]]:
    """All ranks, with all that they were computed from."""
    return public_results(session_id).add_columns(
        Ranking.sequence, Ranking.response_time, Ranking.weight
    )


def public_results(session_id: UUID) -> Select[*tuple[Any, ...]]:
    """All ranks, with what everybody may read."""
    ranks: Select[*tuple[Any, ...]] = (
        select(
            Ranking.rank,
            Ranking.user_id,
            User.shown_name().label("username"),
            Ranking.price,
            Ranking.score,
            Ranking.is_winning().label("is_winner"),
            Ranking.price_to_pay,
        )
        .join(BiddingSession, BiddingSession.id == Ranking.session_id)
        .outerjoin(User, User.id == Ranking.user_id)
        .where(Ranking.session_id == session_id)
        .order_by(Ranking.rank)
    )
    return ranks


def offers(session_id: UUID) -> Select[*tuple[Any, ...]]:
    """All offers that were ever made, with the address that a shop writes to."""
    return (
        select(
            Offer.id.label("offer_id"),
            Offer.place,
            Offer.rank,
            Offer.user_id,
            User.shown_name().label("username"),
            case((User.erased_at.is_(None), User.email)).label("email"),
            Ranking.price_to_pay,
            Offer.state,
            Offer.opened_at,
            Offer.expires_at,
            Offer.settled_at,
            Offer.version,
        )
        .outerjoin(
            Ranking,
            (Ranking.session_id == Offer.session_id) & (Ranking.user_id == Offer.user_id),
        )
        .outerjoin(User, User.id == Offer.user_id)
        .where(Offer.session_id == session_id)
        .order_by(Offer.rank)
    )


def _parts_of_bids(database: Database, session_id: UUID) -> Iterator[Select[*tuple[Any, ...]]]:
    """Bids up to the one that is the last now. Since none is ever changed, the parts together
    are one picture of this moment.
    """
    of_session = Bid.session_id == session_id
    last = _scalar(database, select(func.max(Bid.sequence)).where(of_session)) or 0
    after = 0
    while True:
        full_part = select(Bid.sequence).where(of_session, Bid.sequence > after)
        full_part = full_part.order_by(Bid.sequence).offset(PART_BIDS - 1).limit(1)
        end = min(_scalar(database, full_part) or last, last)
        yield _bids().where(of_session, Bid.sequence > after, Bid.sequence <= end)
        if end == last:
            return
        after = end


def _bids() -> Select[*tuple[Any, ...]]:
    bids: Select[*tuple[Any, ...]] = (
        select(
            Bid.sequence,
            Bid.user_id,
            User.shown_name().label("username"),
            Bid.price,
            Bid.score,
            Bid.response_time,
            Bid.weight,
            Bid.accepted_at,
        )
        .outerjoin(User, User.id == Bid.user_id)
        .order_by(Bid.sequence)
    )
    return bids


def _scalar(database: Database, statement: Select[int]) -> int | None:
    with database.begin() as db:
        return db.scalar(statement)
