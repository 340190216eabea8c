"""Admin routes: products, sessions, members, statistics, settings, deliveries, admin log."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import Blueprint

from core import errors
from core.members.directory import Member
from core.notifications.channels import ChannelState
from core.notifications.email import EmailView
from core.notifications.outbox import DeliveryStatus
from core.operations.admin_log import AdminAction
from core.operations.configuration import Configuration
from core.operations.stats import SessionStats, Stats
from core.rules.lifecycle import Status
from core.rules.simulation import Crowd, Simulation
from core.sessions.products import Product
from core.sessions.sessions import SessionView, Terms
from web.guards.operation import operation
from web.guards.tokens import Auth, current_user_id
from web.http import schemas
from web.state import services
from worker import enqueue

blueprint = Blueprint("admin", __name__, url_prefix="/api/admin")


@blueprint.post("/products")
@operation(
    auth=Auth.ADMIN,
    scope="sales:write",
    body=schemas.NewProduct(),
    response=schemas.Product(),
    status=201,
    refuses=(errors.InvalidImageUrl,),
)
def add_product(name: str, description: str | None, image_url: str | None) -> Product:
    """Create a product."""
    return services().catalogue.add(name, description, image_url)


@blueprint.get("/products")
@operation(auth=Auth.ADMIN, scope="sales:write", response=schemas.Product(many=True))
def products() -> Sequence[Product]:
    """List all products, newest first."""
    return services().catalogue.products()


@blueprint.post("/sessions")
@operation(
    auth=Auth.ADMIN,
    scope="sales:write",
    body=schemas.NewSession(),
    response=schemas.Session(),
    status=201,
    refuses=(errors.ProductNotFound,),
)
def add_session(product_id: UUID, terms: Terms) -> SessionView:
    """Start or schedule a session for a product."""
    return services().sessions.create(product_id, terms)


@blueprint.post("/sessions/combined")
@operation(
    auth=Auth.ADMIN,
    scope="sales:write",
    body=schemas.NewProductAndSession(),
    response=schemas.Session(),
    status=201,
    refuses=(errors.InvalidImageUrl,),
)
def add_product_and_session(
    name: str, description: str | None, image_url: str | None, terms: Terms
) -> SessionView:
    """Create a product and its session in one transaction."""
    return services().sessions.create_with_product(name, description, terms, image_url)


@blueprint.put("/sessions/<session_id>/activate")
@operation(
    auth=Auth.ADMIN,
    scope="sales:write",
    response=schemas.Session(),
    refuses=(errors.SessionNotFound, errors.SessionEnded, errors.SessionCancelled),
)
def activate(session_id: UUID) -> SessionView:
    """Accept bids from now on. A scheduled session starts now; its end time stays."""
    return services().sessions.activate(session_id)


@blueprint.put("/sessions/<session_id>/deactivate")
@operation(
    auth=Auth.ADMIN,
    scope="sales:write",
    response=schemas.Session(),
    refuses=(errors.SessionNotFound, errors.SessionEnded, errors.SessionCancelled),
)
def deactivate(session_id: UUID) -> SessionView:
    """Pause a session: refuse bids. Standing bids and the end time stay."""
    return services().sessions.deactivate(session_id)


@blueprint.put("/sessions/<session_id>/close")
@operation(
    auth=Auth.ADMIN,
    scope="sales:write",
    response=schemas.Session(),
    status=202,
    refuses=(errors.SessionNotFound, errors.SessionCancelled),
)
def close(session_id: UUID) -> SessionView:
    """End a session now. The results follow."""
    ended = services().sessions.end_now(session_id)
    enqueue.close(session_id)
    return ended


@blueprint.get("/sessions")
@operation(
    auth=Auth.ADMIN,
    scope="sales:write",
    query=schemas.SearchedSessionsQuery(),
    response=schemas.Session(many=True),
    paged=True,
)
def all_sessions(
    status: str | None, search: str, page: int, page_size: int
) -> tuple[Sequence[SessionView], int]:
    """List all sessions, soonest end first; those that are over come last."""
    return services().sessions.soonest_ending(
        Status(status) if status else None, search, page=page, page_size=page_size
    )


@blueprint.patch("/sessions/<session_id>")
@operation(
    auth=Auth.ADMIN,
    scope="sales:write",
    body=schemas.SessionChanges(),
    response=schemas.Session(),
    refuses=(
        errors.SessionNotFound,
        errors.VersionConflict,
        errors.SessionAlreadyStarted,
        errors.SessionEnded,
        errors.SessionCancelled,
        errors.InvalidImageUrl,
    ),
)
def change_session(session_id: UUID, version: int, changes: dict[str, Any]) -> SessionView:
    """Change any term before the start; later the name, the description, the picture and, to a
    later one, the end.
    """
    return services().session_edits.change(session_id, version, changes)


@blueprint.put("/sessions/<session_id>/cancel")
@operation(
    auth=Auth.ADMIN,
    scope="sales:write",
    body=schemas.Cancellation(),
    response=schemas.Session(),
    refuses=(errors.SessionNotFound, errors.VersionConflict, errors.SessionEnded),
)
def cancel_session(session_id: UUID, reason: str, version: int | None) -> SessionView:
    """Cancel a session: nobody wins, and its bidders are told. Safe to repeat."""
    cancelled = services().session_edits.cancel(session_id, reason, version)
    enqueue.close(session_id)
    return cancelled


@blueprint.get("/sessions/<session_id>/stats")
@operation(
    auth=Auth.ADMIN,
    scope="sales:write",
    response=schemas.SessionStats(),
    refuses=(errors.SessionNotFound,),
)
def session_stats(session_id: UUID) -> SessionStats:
    """Get a session's key figures."""
    return services().statistics.of_session(session_id)


@blueprint.get("/members")
@operation(
    auth=Auth.ADMIN,
    scope="members:read",
    query=schemas.MembersQuery(),
    response=schemas.Member(many=True),
    paged=True,
)
def members(search: str, page: int, page_size: int) -> tuple[Sequence[Member], int]:
    """List members by name."""
    return services().directory.list(search, page=page, page_size=page_size)


@blueprint.get("/members/<user_id>")
@operation(
    auth=Auth.ADMIN,
    scope="members:read",
    response=schemas.Member(),
    refuses=(errors.AccountNotFound,),
)
def member(user_id: UUID) -> Member:
    """Get a member."""
    return services().directory.get(user_id)


@blueprint.put("/members/<user_id>/disable")
@operation(
    auth=Auth.ADMIN,
    response=schemas.Member(),
    refuses=(errors.AccountNotFound, errors.OwnAccount),
)
def disable_member(user_id: UUID) -> Member:
    """Refuse a member's logins and tokens at once. Standing bids stay. Safe to repeat."""
    services().membership.disable(str(user_id), by=current_user_id())
    return services().directory.get(user_id)


@blueprint.put("/members/<user_id>/enable")
@operation(auth=Auth.ADMIN, response=schemas.Member(), refuses=(errors.AccountNotFound,))
def enable_member(user_id: UUID) -> Member:
    """Let a member log in again; tokens that have not expired work again. Safe to repeat."""
    services().membership.enable(str(user_id))
    return services().directory.get(user_id)


@blueprint.get("/stats")
@operation(auth=Auth.ADMIN, response=schemas.Stats())
def stats() -> Stats:
    """Get the shop's key figures."""
    return services().statistics.read()


@blueprint.get("/settings")
@operation(auth=Auth.ADMIN, response=schemas.Configuration())
def settings() -> Configuration:
    """Show versions, how Redis keeps bids, which channels are on, and the settings that matter."""
    return services().configurations.read()


@blueprint.post("/simulations")
@operation(
    auth=Auth.ADMIN,
    body=schemas.NewSimulation(),
    response=schemas.Simulation(),
    refuses=(
        errors.SessionNotFound,
        errors.SessionNotEnded,
        errors.ResultsPending,
        errors.SessionCancelled,
    ),
)
def simulate(session_id: UUID | None, crowd: Crowd, terms: dict[str, Any]) -> Simulation:
    """Simulate a sale to a crowd, or a past session under other terms. Changes nothing."""
    if session_id is None:
        return services().simulations.of_crowd(terms, crowd)
    return services().simulations.of_session(session_id, terms)


@blueprint.get("/channels")
@operation(auth=Auth.ADMIN, response=schemas.Channel(many=True))
def channels() -> Sequence[ChannelState]:
    """List the notification channels and their pending deliveries."""
    return services().channels.read()


@blueprint.get("/email-deliveries")
@operation(
    auth=Auth.ADMIN,
    query=schemas.DeliveriesQuery(),
    response=schemas.EmailDelivery(many=True),
    paged=True,
)
def email_deliveries(
    status: str | None, page: int, page_size: int
) -> tuple[Sequence[EmailView], int]:
    """List e-mails with their attempts and last errors, newest first."""
    return services().mailer.list(
        DeliveryStatus(status) if status else None, page=page, page_size=page_size
    )


@blueprint.get("/actions")
@operation(
    auth=Auth.ADMIN,
    query=schemas.PageQuery(),
    response=schemas.AdminAction(many=True),
    paged=True,
)
def admin_actions(page: int, page_size: int) -> tuple[Sequence[AdminAction], int]:
    """List admin actions, by API and command line, newest first."""
    return services().admin_actions.list(page=page, page_size=page_size)
