"""Doors for the web tier. A broker that is away is logged and forgiven: beat's sweeps
find the work, and the member's request has done its part already.
"""

from uuid import UUID

import structlog
from celery import Task
from kombu.exceptions import OperationalError

from worker.tasks import close_session, persist_bids, send_webhooks

log = structlog.get_logger(__name__)


def drain(session_id: UUID) -> None:
    """Have a session's bid log drained soon."""
    _send(persist_bids, str(session_id))


def close(session_id: UUID) -> None:
    """Have a session closed whose gate is shut."""
    _send(close_session, str(session_id))


def webhooks() -> None:
    """Have the webhooks that are due sent soon."""
    _send(send_webhooks)


def _send(task: Task, *arguments: str) -> None:
    try:
        task.apply_async(arguments, retry=False)
    except OperationalError:
        log.warning("job_not_enqueued", task=task.name, arguments=arguments)
