"""Holds what must not be undone by a failover until the replicas have it.

Replication is asynchronous: a master that dies takes with it what no replica had yet. A
gate that was shut would be open again, and a sequence that PostgreSQL has would be given
out a second time.

WAIT looks back from its own connection's last write, and a replay has found a bid that
another connection wrote. So a write of no meaning goes before it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis

from core import errors
from core.config.redis import Replicas
from core.redis import keys

_MARK_LIFE_SECONDS = 60


def request_confirmation(pipeline: Any, key: str, replicas: Replicas) -> None:
    """Have the key's server confirm what it has by now, at the end of a pipeline to it."""
    pipeline.set(keys.replication_mark(key), "", ex=_MARK_LIFE_SECONDS)
    pipeline.execute_command("WAIT", replicas.count, replicas.timeout_ms)


def is_confirmed(replies: Sequence[object], replicas: Replicas) -> bool:
    """Whether these replies to `request_confirmation` are those of enough replicas."""
    mark, reached = replies
    return mark is True and isinstance(reached, int) and reached >= replicas.count


class Replication:
    """Asks for confirmation where REDIS_WAIT_REPLICAS says so; does nothing elsewhere."""

    def __init__(self, server_of: Callable[[str], Redis], replicas: Replicas | None) -> None:
        self._server_of, self._replicas = server_of, replicas

    def confirm(self, key: str) -> None:
        """Return when the replicas have what this key's server had taken by now.

        Raises Unconfirmed when they do not in time.
        """
        if self._replicas is None:
            return
        with self._server_of(key).pipeline(transaction=False) as pipeline:
            request_confirmation(pipeline, key, self._replicas)
            mark, reached = pipeline.execute(raise_on_error=False)
        if not is_confirmed((mark, reached), self._replicas):
            raise mark if isinstance(mark, Exception) else errors.Unconfirmed
