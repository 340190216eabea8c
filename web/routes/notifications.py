"""Members' notifications and reminders."""

from collections.abc import Sequence
from uuid import UUID

from flask import Blueprint

from core import errors
from core.notifications.inbox import Notice
from core.notifications.reminders import ReminderView
from web.guards.operation import operation
from web.guards.tokens import Auth, current_user_id
from web.http import schemas
from web.state import services

blueprint = Blueprint("notifications", __name__, url_prefix="/api")


@blueprint.get("/notifications")
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


@blueprint.put("/notifications/<notification_id>/read")
@operation(auth=Auth.MEMBER, status=204, refuses=(errors.NotificationNotFound,))
def mark_read(notification_id: UUID) -> None:
    """Mark a notification as read. Safe to repeat."""
    services().notifications.mark_read(current_user_id(), notification_id)


@blueprint.post("/notifications/read")
@operation(auth=Auth.MEMBER, status=204)
def mark_all_read() -> None:
    """Mark all your notifications as read."""
    services().notifications.mark_all_read(current_user_id())


@blueprint.get("/reminders")
@operation(
    auth=Auth.MEMBER,
    query=schemas.PageQuery(),
    response=schemas.Reminder(many=True),
    paged=True,
)
def reminders(page: int, page_size: int) -> tuple[Sequence[ReminderView], int]:
    """List the sessions to come that you are reminded of, soonest first."""
    return services().reminders.of_member(current_user_id(), page=page, page_size=page_size)


@blueprint.put("/sessions/<session_id>/reminder")
@operation(
    auth=Auth.MEMBER,
    status=204,
    refuses=(
        errors.SessionNotFound,
        errors.SessionAlreadyStarted,
        errors.SessionEnded,
        errors.SessionCancelled,
    ),
)
def add_reminder(session_id: UUID) -> None:
    """Be told five minutes before a session starts. Safe to repeat."""
    services().reminders.add(session_id, current_user_id())


@blueprint.delete("/sessions/<session_id>/reminder")
@operation(auth=Auth.MEMBER, status=204, refuses=(errors.SessionNotFound,))
def remove_reminder(session_id: UUID) -> None:
    """Do not be told of a session's start. Safe to repeat."""
    services().reminders.remove(session_id, current_user_id())
