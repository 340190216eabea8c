"""Number of waiting jobs per queue, for any broker."""

from typing import Any

from worker import queues
from worker.celery_app import app


def read() -> dict[str, int]:
    """Length by queue name. Raises one of broker_errors if the broker is unusable."""
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, timeout=1)
        return {name: _length(connection, name) for name in queues.ALL}


def _length(connection: Any, name: str) -> int:
    # An error closes the channel, so each queue gets its own.
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
        except connection.channel_errors:
            return 0  # the queue has never been used
