"""Selects sessions by what the clock makes of them, in the order of a list."""

from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, case, or_, select, true

from core.postgres.models import BiddingSession, Product
from core.rules.lifecycle import Status


def newest(status: Status | None, now: datetime) -> Select[BiddingSession]:
    """Sessions of a status, newest start first."""
    return (
        select(BiddingSession)
        .where(_status_is(status, now))
        .order_by(BiddingSession.start_time.desc(), BiddingSession.id)
    )


def soonest_ending(status: Status | None, search: str, now: datetime) -> Select[BiddingSession]:
    """Sessions of a status with `search` in their name, soonest end first, then those that are
    over, the latest first.
    """
    end, is_over = BiddingSession.end_time, ~_is_running(now)
    return (
        select(BiddingSession)
        .join(BiddingSession.product)
        .where(_status_is(status, now), Product.name.icontains(search, autoescape=True))
        .order_by(is_over, case((is_over, None), else_=end), end.desc(), BiddingSession.id)
    )


def soonest(status: Status | None, now: datetime) -> Select[BiddingSession]:
    """Sessions of a status: started ones by end, then those to come by start, then those that are
    over, the latest first.
    """
    start, end = BiddingSession.start_time, BiddingSession.end_time
    is_over, is_to_come = ~_is_running(now), start > now
    part = case((is_over, 2), (is_to_come, 1), else_=0)
    next_moment = case((is_over, None), (is_to_come, start), else_=end)
    return (
        select(BiddingSession)
        .where(_status_is(status, now))
        .order_by(part, next_moment, end.desc(), BiddingSession.id)
    )


def _is_running(now: datetime) -> ColumnElement[bool]:
    """Whether a session is neither over nor cancelled."""
    over = (Status.ENDED.value, Status.CANCELLED.value)
    return and_(BiddingSession.status.not_in(over), BiddingSession.end_time > now)


def _status_is(status: Status | None, now: datetime) -> ColumnElement[bool]:
    """`status_at(...) == status` in SQL; any status when None."""
    stored, start, end = (
        BiddingSession.status,
        BiddingSession.start_time,
        BiddingSession.end_time,
    )
    cancelled = stored == Status.CANCELLED.value
    running = _is_running(now)
    scheduled = and_(stored == Status.SCHEDULED.value, start > now)
    match status:
        case None:
            return true()
        case Status.ENDED:
            return and_(~cancelled, or_(stored == Status.ENDED.value, end <= now))
        case Status.CANCELLED:
            return cancelled
        case Status.SCHEDULED:
            return and_(running, scheduled)
        case Status.INACTIVE:
            return and_(running, stored == Status.INACTIVE.value)
        case Status.ACTIVE:
            due = and_(stored == Status.SCHEDULED.value, start <= now)
            return and_(running, or_(stored == Status.ACTIVE.value, due))
