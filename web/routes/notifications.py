"""Members' notifications."""

from collections.abc import Sequence
from uuid import UUID

from flask import Blueprint

from core import errors
from core.notifications.inbox import Notice
from web.guards.operation import operation
from web.guards.tokens import Auth, current_user_id
from web.http import schemas
from web.state import services

blueprint = Blueprint("notifications", __name__, url_prefix="/api/notifications")


@blueprint.get("")
@operation(
    auth=Auth.MEMBER,
    query=schemas.NotificationsQuery(),
    response=schemas.Notification(many=True),
    paged=True,
)
def notifications(unread: bool, page: int, page_size: int) -> tuple[Sequence[Notice], int]:
    """List your notifications, newest first."""
    return services().notifications.of_member(
        current_user_id(), unread_only=unread, page=page, page_size=page_size
    )


@blueprint.put("/<notification_id>/read")
@operation(auth=Auth.MEMBER, status=204, refuses=(errors.NotificationNotFound,))
def mark_read(notification_id: UUID) -> None:
    """Mark a notification as read. Safe to repeat."""
    services().notifications.mark_read(current_user_id(), notification_id)


@blueprint.post("/read")
@operation(auth=Auth.MEMBER, status=204)
def mark_all_read() -> None:
    """Mark all your notifications as read."""
    services().notifications.mark_all_read(current_user_id())
