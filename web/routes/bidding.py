"""Bids, boards, sessions and results."""

from collections.abc import Sequence
from uuid import UUID

from flask import Blueprint, Response, request

from core import errors
from core.bidding.board import Standing
from core.bidding.history import PastBid
from core.orders.exports import FileFormat
from core.rules.lifecycle import Status
from core.sessions.sessions import SessionView
from web.guards.operation import operation
from web.guards.rate_limits import Limit, network_of
from web.guards.tokens import Auth, current_user_id
from web.http import schemas
from web.http.body import MAX_BID_BYTES
from web.http.buckets import TooMany
from web.lane import Handler, Lane, lane_route
from web.state import results_pages, services

blueprint = Blueprint("bidding", __name__, url_prefix="/api")


@blueprint.post("/bid")
@lane_route(
    auth=Auth.BIDDER,
    body=schemas.BidRequest(),
    max_body_bytes=MAX_BID_BYTES,
    response=schemas.PlacedBid(),
    refuses=(
        errors.SessionNotFound,
        errors.SessionNotStarted,
        errors.SessionInactive,
        errors.SessionEnded,
        errors.PriceBelowUpset,
        errors.PriceBelowStanding,
        errors.ScoreWouldDrop,
        errors.RateLimited,
        errors.OutcomeUnknown,
        errors.BacklogFull,
    ),
)
def place_bid(lane: Lane) -> Handler:
    """Place or replace your bid. Safe to retry: the same price again changes nothing."""
    return lane.place_bid


@blueprint.get("/leaderboard/<session_id>")
@lane_route(
    auth=Auth.PUBLIC,
    query=schemas.PageQuery(),
    response=schemas.Board(),
    # Cached pages: counting a request would cost more than the page. Others count in memory.
    limit=Limit.NONE,
    refuses=(errors.SessionNotFound, TooMany),
)
def leaderboard(lane: Lane) -> Handler:
    """Get a page of a session's board: provisional during the session, then final."""
    return lane.show_board


@blueprint.get("/leaderboard/<session_id>/me")
@operation(
    auth=Auth.MEMBER,
    response=schemas.Standing(),
    refuses=(errors.SessionNotFound, errors.NoBid, errors.SessionCancelled),
)
def own_standing(session_id: UUID) -> Standing:
    """Get your place on the board."""
    return services().board.standing(session_id, current_user_id())


@blueprint.get("/sessions")
@operation(
    auth=Auth.PUBLIC,
    query=schemas.OrderedSessionsQuery(),
    response=schemas.Session(many=True),
    paged=True,
)
def sessions(
    status: str | None, order: str, page: int, page_size: int
) -> tuple[Sequence[SessionView], int]:
    """List sessions, latest start first or soonest first."""
    all_sessions = services().sessions
    listed = all_sessions.soonest if order == schemas.SOONEST else all_sessions.list
    return listed(Status(status) if status else None, page=page, page_size=page_size)


@blueprint.get("/sessions/active")
@operation(auth=Auth.PUBLIC, response=schemas.Session(many=True))
def active_sessions() -> Sequence[SessionView]:
    """List all sessions that accept bids now."""
    return services().sessions.active()


@blueprint.get("/sessions/<session_id>")
@operation(auth=Auth.PUBLIC, response=schemas.Session(), refuses=(errors.SessionNotFound,))
def session(session_id: UUID) -> SessionView:
    """Get a session."""
    return services().sessions.get(session_id)


@blueprint.get("/results/<session_id>")
@operation(
    auth=Auth.PUBLIC,
    query=schemas.ResultsQuery(),
    response=schemas.Results(),
    also_media_types=("text/csv",),
    refuses=(
        errors.SessionNotFound,
        errors.SessionNotEnded,
        errors.ResultsPending,
        errors.SessionCancelled,
        errors.ResultsTooLarge,
    ),
)
def results(session_id: UUID, page: int, page_size: int, file_format: str) -> Response | bytes:
    """Get the final results: all winners on the first page, and a page of all ranks."""
    reader = network_of(request.remote_addr or "")
    if file_format == FileFormat.CSV:
        text = results_pages().csv(session_id, services().exports.results_csv, reader=reader)
        return Response(text, content_type="text/csv; charset=utf-8")
    return results_pages().page(session_id, page=page, page_size=page_size, reader=reader)


@blueprint.get("/bids/me")
@operation(
    auth=Auth.MEMBER,
    query=schemas.OwnBidsQuery(),
    response=schemas.OwnBid(many=True),
    paged=True,
    refuses=(errors.SessionNotFound,),
)
def own_bids(session_id: UUID | None, page: int, page_size: int) -> tuple[Sequence[PastBid], int]:
    """List your accepted bids, newest first. Those of archived sessions are left out."""
    return services().history.of_member(
        current_user_id(), session_id, page=page, page_size=page_size
    )
