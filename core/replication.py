"""Holds what must not be undone by a failover until the replicas have it.

Replication is asynchronous: a master that dies takes with it what no replica had yet. A
gate that was shut would be open again, and a sequence that PostgreSQL has would be given
out a second time.
"""

from core.combiner import Replicas
from core.steps import Caller


class Replication:
    """Asks for confirmation where REDIS_WAIT_REPLICAS says so; does nothing elsewhere."""

    def __init__(self, calls: Caller, replicas: Replicas | None) -> None:
        self._calls, self._replicas = calls, replicas

    def confirm(self, key: str) -> None:
        """Return when the replicas have what this key's server had taken by now.

        Raises Unconfirmed when they do not in time.
        """
        if self._replicas:
            # What is asked does not matter: every call is confirmed.
            self._calls.execute_command("EXISTS", key)
