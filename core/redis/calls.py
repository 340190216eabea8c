"""Redis calls for an event loop, by redis-py's asyncio client: on one server, and on a cluster."""

import asyncio
from collections.abc import Callable
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from core import errors
from core.config.redis import Replicas
from core.redis.cluster import ClusterClient
from core.redis.replication import is_confirmed, request_confirmation
from core.runtime import Background

# Of one node. What comes beyond them waits for one: a flood of questions about sessions that
# are none must not take all that Redis has.
MAX_CONNECTIONS = 100
_SCRIPT_CALLS = frozenset({"EVALSHA", "EVAL"})
_FIRST_SCRIPT_KEY = 3
# After one of these another node may serve the key soon.
_NODE_IS_AWAY = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.ClusterDownError,
)


class Calls:
    """Calls one Redis. A call is confirmed by so many replicas, if any are asked for."""

    def __init__(self, redis: Redis, replicas: Replicas | None) -> None:
        self._redis, self._replicas = redis, replicas
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)

    async def execute(self, *command: str | float, asking: bool = False) -> Any:
        """The command's reply. Raises what redis-py raises, and Unconfirmed when too few
        replicas have what the server had by then. `asking`: the key's slot is moving here.
        """
        async with self._free:
            if self._replicas is None and not asking:
                return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
            return await self._execute(command, asking=asking)

    async def _execute(self, command: tuple[str | float, ...], *, asking: bool) -> Any:
        async with self._redis.pipeline(transaction=False) as pipeline:
            if asking:
                pipeline.execute_command("ASKING")
            pipeline.execute_command(*command)
            if self._replicas:
                request_confirmation(pipeline, key_of(command), self._replicas)
            replies = await pipeline.execute(raise_on_error=False)
        reply, *told = replies[asking:]
        if isinstance(reply, Exception):
            raise reply
        if self._replicas and not is_confirmed(told, self._replicas):
            raise errors.Unconfirmed
        return reply


class ClusterCalls:
    """Calls the node of each command's key.

    A node that does not answer holds up only its own sessions' calls. Nothing waits here
    for a failover: the call fails, and is made again by whoever made it. What is sent
    elsewhere because a slot has moved, or is moving, was not executed where it went first.
    """

    def __init__(
        self,
        cluster: ClusterClient,
        connect: Callable[[str, int], Redis],
        replicas: Replicas | None,
        background: Background,
    ) -> None:
        self._cluster, self._connect, self._replicas = cluster, connect, replicas
        self._background = background
        self._nodes: dict[tuple[str, int], Calls] = {}

    async def execute(self, *command: str | float) -> Any:
        """The command's reply. Raises what redis-py raises, and Unconfirmed."""
        key = key_of(command)
        address = self._cluster.known_master_of(key)
        if address is None:
            await self._background.run(self._cluster.learn_order)
            address = self._cluster.master_of(key)
        try:
            return await self._node_at(address).execute(*command)
        except redis_errors.MovedError as error:
            self._background.leave(self._cluster.learn_order)
            return await self._node_at(error.node_addr).execute(*command)
        except redis_errors.AskError as error:
            return await self._node_at(error.node_addr).execute(*command, asking=True)
        except _NODE_IS_AWAY:
            self._cluster.note_failure(address)
            self._background.leave(self._cluster.learn_order)
            raise

    def _node_at(self, address: tuple[str, int]) -> Calls:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = Calls(self._connect(*address), self._replicas)
        return node


def key_of(command: tuple[str | float, ...]) -> str:
    """The first key of a command or of a script's call."""
    return str(command[_FIRST_SCRIPT_KEY if command[0] in _SCRIPT_CALLS else 1])
