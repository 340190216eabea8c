"""What only admins may do: products, sessions, counts."""

from collections.abc import Sequence
from uuid import UUID

from flask import Blueprint

from core import errors
from core.notifications.channels import ChannelState
from core.notifications.outbox import DeliveryStatus
from core.notifications.webhooks import DeliveryView
from core.operations.admin_log import AdminAction
from core.operations.stats import Stats
from core.sessions.products import Product
from core.sessions.sessions import SessionView, Terms
from web.guards.operation import operation
from web.guards.tokens import Auth
from web.http import schemas
from web.state import services
from worker import enqueue

blueprint = Blueprint("admin", __name__, url_prefix="/api/admin")


@blueprint.post("/products")
@operation(auth=Auth.ADMIN, body=schemas.NewProduct(), answer=schemas.Product(), status=201)
def add_product(name: str, description: str | None) -> Product:
    """Create a product."""
    return services().catalogue.add(name, description)


@blueprint.get("/products")
@operation(auth=Auth.ADMIN, answer=schemas.Product(many=True))
def products() -> Sequence[Product]:
    """All products, newest first."""
    return services().catalogue.products()


@blueprint.post("/sessions")
@operation(
    auth=Auth.ADMIN,
    body=schemas.NewSession(),
    answer=schemas.Session(),
    status=201,
    refuses=(errors.ProductNotFound,),
)
def add_session(product_id: UUID, terms: Terms) -> SessionView:
    """Open or schedule a session for a product."""
    return services().sessions.create(product_id, terms)


@blueprint.post("/sessions/combined")
@operation(
    auth=Auth.ADMIN,
    body=schemas.NewProductAndSession(),
    answer=schemas.Session(),
    status=201,
)
def add_product_and_session(name: str, description: str | None, terms: Terms) -> SessionView:
    """Create a product and its session in one transaction."""
    return services().sessions.create_with_product(name, description, terms)


@blueprint.put("/sessions/<session_id>/activate")
@operation(
    auth=Auth.ADMIN,
    answer=schemas.Session(),
    refuses=(errors.SessionNotFound, errors.SessionEnded),
)
def activate(session_id: UUID) -> SessionView:
    """Take bids from now on. A scheduled session starts now and keeps its end."""
    return services().sessions.activate(session_id)


@blueprint.put("/sessions/<session_id>/deactivate")
@operation(
    auth=Auth.ADMIN,
    answer=schemas.Session(),
    refuses=(errors.SessionNotFound, errors.SessionEnded),
)
def deactivate(session_id: UUID) -> SessionView:
    """Refuse bids; standing bids and the end time stay."""
    return services().sessions.deactivate(session_id)


@blueprint.put("/sessions/<session_id>/close")
@operation(auth=Auth.ADMIN, answer=schemas.Session(), status=202, refuses=(errors.SessionNotFound,))
def close(session_id: UUID) -> SessionView:
    """End a session now; the results follow."""
    ended = services().sessions.end_now(session_id)
    enqueue.close(session_id)
    return ended


@blueprint.get("/stats")
@operation(auth=Auth.ADMIN, answer=schemas.Stats())
def stats() -> Stats:
    """The shop at a glance."""
    return services().statistics.read()


@blueprint.get("/channels")
@operation(auth=Auth.ADMIN, answer=schemas.Channel(many=True))
def channels() -> Sequence[ChannelState]:
    """By which ways members and the shop's system are told, and what is still to be told."""
    return services().channels.read()


@blueprint.get("/webhook-deliveries")
@operation(
    auth=Auth.ADMIN,
    query=schemas.DeliveriesQuery(),
    answer=schemas.WebhookDelivery(many=True),
    counted=True,
)
def webhook_deliveries(
    status: str | None, page: int, page_size: int
) -> tuple[Sequence[DeliveryView], int]:
    """What the shop's system was sent, newest first."""
    return services().webhooks.list(
        DeliveryStatus(status) if status else None, page=page, page_size=page_size
    )


@blueprint.get("/actions")
@operation(
    auth=Auth.ADMIN,
    query=schemas.PageQuery(),
    answer=schemas.AdminAction(many=True),
    counted=True,
)
def admin_actions(page: int, page_size: int) -> tuple[Sequence[AdminAction], int]:
    """Who administered what and when, from here and from the command line, newest first."""
    return services().admin_actions.list(page=page, page_size=page_size)
