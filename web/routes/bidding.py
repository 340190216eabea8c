"""Bids, boards, sessions and results."""

from collections.abc import Sequence
from uuid import UUID

from flask import Blueprint

from core import errors
from core.bidding.board import Standing
from core.bidding.history import PastBid
from core.rules.lifecycle import Status
from core.sessions.sessions import SessionView
from web.guards.operation import operation
from web.guards.rate_limits import Limit
from web.guards.tokens import Auth, current_user_id
from web.http import schemas
from web.lane import Handler, Lane, by_lane
from web.state import results_pages, services

blueprint = Blueprint("bidding", __name__, url_prefix="/api")


@blueprint.post("/bid")
@by_lane(
    auth=Auth.BIDDER,
    body=schemas.BidRequest(),
    answer=schemas.PlacedBid(),
    refuses=(
        errors.SessionNotFound,
        errors.SessionNotStarted,
        errors.SessionInactive,
        errors.SessionEnded,
        errors.PriceBelowUpset,
        errors.RateLimited,
        errors.OutcomeUnknown,
        errors.BacklogFull,
    ),
)
def place_bid(lane: Lane) -> Handler:
    """Place or replace the caller's bid. Safe to retry: the standing price is a replay."""
    return lane.place_bid


@blueprint.get("/leaderboard/<session_id>")
@by_lane(
    auth=Auth.PUBLIC,
    query=schemas.PageQuery(),
    answer=schemas.Board(),
    # Kept pages: counting a look at one would cost more than the look.
    limit=Limit.NONE,
    refuses=(errors.SessionNotFound,),
)
def leaderboard(lane: Lane) -> Handler:
    """One page of a session's board: provisional while it runs, final after."""
    return lane.show_board


@blueprint.get("/leaderboard/<session_id>/me")
@operation(
    auth=Auth.MEMBER,
    answer=schemas.Standing(),
    refuses=(errors.SessionNotFound, errors.NoBid),
)
def own_standing(session_id: UUID) -> Standing:
    """The caller's place on the board."""
    return services().board.standing(session_id, current_user_id())


@blueprint.get("/sessions")
@operation(
    auth=Auth.PUBLIC, query=schemas.SessionsQuery(), answer=schemas.Session(many=True), counted=True
)
def sessions(status: str | None, page: int, page_size: int) -> tuple[Sequence[SessionView], int]:
    """Sessions, newest start first."""
    return services().sessions.list(
        Status(status) if status else None, page=page, page_size=page_size
    )


@blueprint.get("/sessions/active")
@operation(auth=Auth.PUBLIC, answer=schemas.Session(many=True))
def active_sessions() -> Sequence[SessionView]:
    """All sessions that take bids now."""
    return services().sessions.active()


@blueprint.get("/sessions/<session_id>")
@operation(auth=Auth.PUBLIC, answer=schemas.Session(), refuses=(errors.SessionNotFound,))
def session(session_id: UUID) -> SessionView:
    """One session."""
    return services().sessions.get(session_id)


@blueprint.get("/results/<session_id>")
@operation(
    auth=Auth.PUBLIC,
    query=schemas.PageQuery(),
    answer=schemas.Results(),
    refuses=(errors.SessionNotFound, errors.SessionNotEnded, errors.ResultsPending),
)
def results(session_id: UUID, page: int, page_size: int) -> bytes:
    """Who won, at what price, and everybody's rank."""
    return results_pages().page(session_id, page=page, page_size=page_size)


@blueprint.get("/bids/me")
@operation(
    auth=Auth.MEMBER,
    query=schemas.OwnBidsQuery(),
    answer=schemas.OwnBid(many=True),
    counted=True,
    refuses=(errors.SessionNotFound,),
)
def own_bids(session_id: UUID | None, page: int, page_size: int) -> tuple[Sequence[PastBid], int]:
    """The caller's accepted bids, newest first."""
    return services().history.of_member(
        current_user_id(), session_id, page=page, page_size=page_size
    )
