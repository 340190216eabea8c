"""Waits for replicas to confirm writes that a failover must not undo.

Replication is asynchronous: a master that dies loses its unreplicated writes. A shut gate
would be open again, and a sequence already in PostgreSQL would be given out twice.

WAIT covers writes up to the last one of its own connection, but a replayed bid was written
by another. So a dummy write precedes it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis

from core import errors
from core.config.redis import Replicas
from core.redis import keys

_MARK_LIFE_SECONDS = 60


def request_confirmation(pipeline: Any, key: str, replicas: Replicas) -> None:
    """Append a WAIT for all earlier writes of the key's server to a pipeline."""
    pipeline.set(keys.replication_mark(key), "", ex=_MARK_LIFE_SECONDS)
    pipeline.execute_command("WAIT", replicas.count, replicas.timeout_ms)


def is_confirmed(replies: Sequence[object], replicas: Replicas) -> bool:
    """Whether the replies to `request_confirmation` show enough replicas."""
    mark, reached = replies
    return mark is True and isinstance(reached, int) and reached >= replicas.count


class Replication:
    """Waits for confirmation if REDIS_WAIT_REPLICAS is set; otherwise does nothing."""

    def __init__(self, server_of: Callable[[str], Redis], replicas: Replicas | None) -> None:
        self._server_of, self._replicas = server_of, replicas

    def confirm(self, key: str) -> None:
        """Wait until the replicas have all current writes of the key's server.

        Raises Unconfirmed if too few confirm in time.
        """
        if self._replicas is None:
            return
        with self._server_of(key).pipeline(transaction=False) as pipeline:
            request_confirmation(pipeline, key, self._replicas)
            mark, reached = pipeline.execute(raise_on_error=False)
        if not is_confirmed((mark, reached), self._replicas):
            raise mark if isinstance(mark, Exception) else errors.Unconfirmed
