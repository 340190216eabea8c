"""Beat's scheduler, with a line instead of two stacks for each job that it cannot send."""

from typing import Any

import structlog
from celery import beat

log = structlog.get_logger(__name__)


class Scheduler(beat.Scheduler):
    """Sends jobs when they are due. One that cannot be sent is sent when it is due next."""

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send a job that is due."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # noqa: BLE001 - each broker's client has its own
            log.error("job_not_sent", job=entry.name, reason=str(error.__cause__ or error))  # noqa: TRY400 - the traceback is Celery's own
