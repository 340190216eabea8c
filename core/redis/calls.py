"""Redis calls from an event loop, with redis-py's asyncio client: one server or a cluster."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from core import errors
from core.config.redis import Replicas
from core.redis.cluster import ClusterClient
from core.redis.replication import is_confirmed, request_confirmation
from core.runtime import Background

# Per node; further calls wait for a free one. Bounds the connections that a flood of requests
# can open.
MAX_CONNECTIONS = 100
# Longer than a slow fsync: after a time-out the outcome of a bid is unknown.
REDIS_TIMEOUT_SECONDS = 5.0
_SCRIPT_CALLS = frozenset({"EVALSHA", "EVAL"})
_FIRST_SCRIPT_KEY = 3
# After one of these another node may serve the key soon.
_NODE_IS_AWAY = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.ClusterDownError,
)


class Calls:
    """Calls one Redis. With `replicas`, each call must be confirmed by that many."""

    def __init__(self, redis: Redis, replicas: Replicas | None) -> None:
        self._redis, self._replicas = redis, replicas
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)

    async def execute(self, *command: str | float, asking: bool = False) -> Any:
        """The command's reply. Raises redis-py's errors, and Unconfirmed if too few replicas
        confirm in time. `asking`: the key's slot is moving to this node.
        """
        async with self._free:
            try:
                async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                    if self._replicas is None and not asking:
                        return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
                    return await self._execute(command, asking=asking)
            except TimeoutError as error:
                raise redis_errors.TimeoutError("Timeout reading from socket") from error

    async def _execute(self, command: tuple[str | float, ...], *, asking: bool) -> Any:
        async with self._redis.pipeline(transaction=False) as pipeline:
            if asking:
                pipeline.execute_command("ASKING")
            pipeline.execute_command(*command)
            if self._replicas:
                request_confirmation(pipeline, key_of(command), self._replicas)
            replies = await pipeline.execute(raise_on_error=False)
        reply, *confirmation = replies[asking:]
        if isinstance(reply, Exception):
            raise reply
        if self._replicas and not is_confirmed(confirmation, self._replicas):
            raise errors.Unconfirmed
        return reply


class ClusterCalls:
    """Calls the node of each command's key.

    An unresponsive node delays only its own sessions' calls. During a failover calls fail and
    the caller repeats them. A redirected call was not executed by the first node.
    """

    def __init__(
        self,
        cluster: ClusterClient,
        connect: Callable[[str, int], Redis],
        replicas: Replicas | None,
        background: Background,
    ) -> None:
        self._cluster, self._background = cluster, background
        self._node_at = cache(lambda address: Calls(connect(*address), replicas))

    async def execute(self, *command: str | float) -> Any:
        """The command's reply. Raises redis-py's errors, and Unconfirmed."""
        key = key_of(command)
        address = self._cluster.cached_master_of(key)
        if address is None:
            await self._background.run(self._cluster.refresh_topology)
            address = self._cluster.master_of(key)
        try:
            return await self._node_at(address).execute(*command)
        except redis_errors.MovedError as error:
            self._background.start(self._cluster.refresh_topology)
            return await self._node_at(error.node_addr).execute(*command)
        except redis_errors.AskError as error:
            return await self._node_at(error.node_addr).execute(*command, asking=True)
        except _NODE_IS_AWAY:
            self._cluster.note_failure(address)
            self._background.start(self._cluster.refresh_topology)
            raise


def key_of(command: tuple[str | float, ...]) -> str:
    """The first key of a command or a script call."""
    return str(command[_FIRST_SCRIPT_KEY if command[0] in _SCRIPT_CALLS else 1])
