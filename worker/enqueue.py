"""Doors for the web tier. A broker that is away is logged and forgiven: beat's sweeps
find the work, and the member's request has done its part already.
"""

from uuid import UUID

import structlog
from celery import Task
from kombu.exceptions import OperationalError

from worker.tasks import close_session, persist_bids

log = structlog.get_logger(__name__)


def drain(session_id: UUID) -> None:
    """Have a session's bid log drained soon."""
    _send(persist_bids, session_id)


def close(session_id: UUID) -> None:
    """Have a session closed whose gate is shut."""
    _send(close_session, session_id)


def _send(task: Task, session_id: UUID) -> None:
    try:
        task.apply_async((str(session_id),), retry=False)
    except OperationalError:
        log.warning("job_not_enqueued", task=task.name, session_id=str(session_id))
