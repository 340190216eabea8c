"""How many jobs wait in each queue, whatever broker keeps them."""

from typing import Any

from worker import queues
from worker.celery_app import app


def read() -> dict[str, int]:
    """Queue to length. Raises kombu's OperationalError when the broker does not answer."""
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, timeout=1)
        return {name: _length(connection, name) for name in queues.ALL}


def _length(connection: Any, name: str) -> int:
    # A refusal closes the channel, so each question has its own.
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
        except connection.channel_errors:
            return 0  # as brokers say of a queue that nobody has used yet
