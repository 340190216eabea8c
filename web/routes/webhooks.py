"""Admins' routes for webhooks: endpoints, their secrets, tests and replays.

No API key may call them: they hand out secrets and say where the shop's data goes.
"""

from collections.abc import Sequence
from uuid import UUID

from flask import Blueprint

from core import errors
from core.notifications.endpoints import EndpointView, EndpointWithSecret
from core.notifications.outbox import DeliveryStatus
from core.notifications.webhooks import DeliveryView
from web.guards.operation import operation
from web.guards.tokens import Auth
from web.http import schemas
from web.state import services
from worker import enqueue

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/admin")


@blueprint.get("/webhook-endpoints")
@operation(
    auth=Auth.ADMIN,
    query=schemas.PageQuery(),
    response=schemas.WebhookEndpoint(many=True),
    paged=True,
)
def webhook_endpoints(page: int, page_size: int) -> tuple[Sequence[EndpointView], int]:
    """List webhook endpoints, oldest first, without their secrets."""
    return services().endpoints.list(page=page, page_size=page_size)


@blueprint.post("/webhook-endpoints")
@operation(
    auth=Auth.ADMIN,
    body=schemas.NewWebhookEndpoint(),
    response=schemas.WebhookEndpointSecret(),
    status=201,
    refuses=(errors.InvalidWebhookUrl,),
)
def add_webhook_endpoint(url: str, events: Sequence[str]) -> EndpointWithSecret:
    """Add a webhook endpoint. Its secret is shown only here."""
    return services().endpoints.add(url, events)


@blueprint.patch("/webhook-endpoints/<endpoint_id>")
@operation(
    auth=Auth.ADMIN,
    body=schemas.WebhookEndpointChange(),
    response=schemas.WebhookEndpoint(),
    refuses=(errors.EndpointNotFound, errors.EndpointBySetting, errors.InvalidWebhookUrl),
)
def change_webhook_endpoint(
    endpoint_id: UUID,
    url: str | None = None,
    events: Sequence[str] | None = None,
    paused: bool | None = None,
) -> EndpointView:
    """Change an endpoint's URL or events, pause it, or enable it again with `paused: false`."""
    changed = services().endpoints.change(endpoint_id, url=url, events=events, paused=paused)
    enqueue.webhooks()
    return changed


@blueprint.delete("/webhook-endpoints/<endpoint_id>")
@operation(auth=Auth.ADMIN, status=204, refuses=(errors.EndpointNotFound, errors.EndpointBySetting))
def delete_webhook_endpoint(endpoint_id: UUID) -> None:
    """Delete an endpoint, its waiting messages and its delivery log."""
    services().endpoints.delete(endpoint_id)


@blueprint.post("/webhook-endpoints/<endpoint_id>/rotate-secret")
@operation(
    auth=Auth.ADMIN,
    response=schemas.WebhookEndpointSecret(),
    refuses=(errors.EndpointNotFound, errors.EndpointBySetting),
)
def rotate_webhook_secret(endpoint_id: UUID) -> EndpointWithSecret:
    """Replace an endpoint's secret. The old one signs as well for 24 hours."""
    return services().endpoints.rotate_secret(endpoint_id)


@blueprint.post("/webhook-endpoints/<endpoint_id>/test")
@operation(
    auth=Auth.ADMIN,
    response=schemas.WebhookDelivery(),
    status=202,
    refuses=(errors.EndpointNotFound,),
)
def send_test_webhook(endpoint_id: UUID) -> DeliveryView:
    """Send `webhook.test` to this endpoint, even if it is paused or disabled."""
    delivery_id = services().endpoints.test(endpoint_id)
    enqueue.webhooks()
    return services().webhooks.get(delivery_id)


@blueprint.get("/webhook-deliveries")
@operation(
    auth=Auth.ADMIN,
    query=schemas.WebhookDeliveriesQuery(),
    response=schemas.WebhookDelivery(many=True),
    paged=True,
)
def webhook_deliveries(
    status: str | None, endpoint_id: UUID | None, event: str | None, page: int, page_size: int
) -> tuple[Sequence[DeliveryView], int]:
    """List webhook deliveries, newest first."""
    return services().webhooks.list(
        DeliveryStatus(status) if status else None,
        endpoint_id=endpoint_id,
        event=event,
        page=page,
        page_size=page_size,
    )


@blueprint.post("/webhook-deliveries/<delivery_id>/replay")
@operation(
    auth=Auth.ADMIN,
    response=schemas.WebhookDelivery(),
    status=202,
    refuses=(errors.DeliveryNotFound,),
)
def replay_webhook_delivery(delivery_id: UUID) -> DeliveryView:
    """Send a message again, whatever its status, under its old id."""
    services().webhooks.replay(delivery_id)
    enqueue.webhooks()
    return services().webhooks.get(delivery_id)
