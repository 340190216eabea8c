"""Connections to the broker: reconnecting after an outage, and what is wrong with it."""

from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.exceptions import OperationalError

# kombu waits two seconds longer after each attempt, up to half a minute: after a long outage
# workers would come back that much later than their broker.
_RETRY_INTERVALS = {"interval_start": 1, "interval_step": 1, "interval_max": 2}


def broker_errors(app: Celery) -> tuple[type[Exception], ...]:
    """Everything that the broker's client raises when a job cannot be sent or queues not read:
    no answer, a wrong password, a database or virtual host that does not exist.
    """
    connection = app.connection_for_write()
    return (OperationalError, *connection.connection_errors, *connection.channel_errors)


class PromptConnection(Connection):
    """A connection that is tried again at least every three seconds."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Connect, again and again; raises like kombu's after `max_retries`."""
        return super().ensure_connection(*args, **(_RETRY_INTERVALS | kwargs))  # type: ignore[no-untyped-call]


class Amqp(AMQP):
    """Celery's messages over such connections."""

    Connection = PromptConnection
