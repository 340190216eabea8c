"""Enqueues jobs for web. An unreachable broker is logged and ignored: the member's request is
already done, and beat's sweeps find the work.
"""

from uuid import UUID

import structlog
from celery import Task

from worker.broker import broker_errors
from worker.tasks import close_session, make_export, persist_bids, send_webhooks

log = structlog.get_logger(__name__)


def drain(session_id: UUID) -> None:
    """Enqueue the drain of a session's bid log."""
    _send(persist_bids, str(session_id))


def close(session_id: UUID) -> None:
    """Enqueue the close of an ended session."""
    _send(close_session, str(session_id))


def webhooks() -> None:
    """Enqueue the delivery of due webhooks."""
    _send(send_webhooks)


def export(export_id: UUID) -> None:
    """Enqueue the making of a requested export."""
    _send(make_export, str(export_id))


def _send(task: Task, *arguments: str) -> None:
    try:
        task.apply_async(arguments, retry=False)
    except broker_errors(task.app) as error:
        reason = str(error.__cause__ or error)
        log.warning("job_not_enqueued", task=task.name, arguments=arguments, reason=reason)
