"""Creates Redis clients: for threads and for event loops."""

import asyncio
from functools import partial
from typing import Any, cast

from redis import ConnectionPool, Redis
from redis import asyncio as redis_asyncio
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from core import outages
from core.config import Settings
from core.config.redis import Replicas
from core.redis import calls
from core.redis.calls import MAX_CONNECTIONS, Calls, ClusterCalls
from core.redis.cluster import ClusterClient
from core.runtime import EventLoop, Runtime

REDIS_CONNECT_TIMEOUT_SECONDS = 2.0
RETRIES = 1


def create_redis(settings: Settings) -> Redis:
    """A pooled client of the single Redis, or of the cluster if one is configured."""
    if settings.redis_cluster:
        # It has the same commands, but is not a subclass.
        return cast(Redis, ClusterClient(settings.redis_cluster, _redis_options(settings)))
    return _connect(settings, settings.redis_host, settings.redis_port)


def create_calls(
    settings: Settings, redis: Redis, runtime: Runtime, replicas: Replicas | None, *, retries: int
) -> Calls | ClusterCalls:
    """Calls for an event loop, confirmed by `replicas` if given.

    `retries`: how often a call without a reply is repeated; 0 for bids.
    """
    connect = partial(_connect_asynchronously, settings, runtime.loop, retries=retries)
    if isinstance(redis, ClusterClient):
        return ClusterCalls(redis, connect, replicas, runtime.background)
    return Calls(connect(settings.redis_host, settings.redis_port), replicas)


def _connect(settings: Settings, host: str, port: int) -> Redis:
    options = _redis_options(settings)
    return Redis.from_pool(ConnectionPool(host=host, port=port, db=settings.redis_db, **options))


def _connect_asynchronously(
    settings: Settings, loop: EventLoop, host: str, port: int, *, retries: int
) -> redis_asyncio.Redis:
    options = _redis_options(settings) | {
        "retry": AsyncRetry(NoBackoff(), retries),
        # `Calls` limits the time of a call: with this the client would start a task for each.
        "socket_timeout": None,
        "max_connections": MAX_CONNECTIONS,
        # While enabled, the pool does not detect closed connections.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    pool = _Pool(host=host, port=port, db=settings.redis_db, **options)
    loop.on_close(pool.aclose)
    return redis_asyncio.Redis.from_pool(pool)


class _Pool(redis_asyncio.ConnectionPool):
    """Distinguishes an unreachable server from one lost after it received a command."""

    async def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Return an open connection. Raises NothingSent."""
        try:
            async with asyncio.timeout(REDIS_CONNECT_TIMEOUT_SECONDS):
                return await super().get_connection(*args, **kwargs)  # type: ignore[no-untyped-call]
        except (redis_errors.ConnectionError, redis_errors.TimeoutError, TimeoutError) as error:
            raise outages.NothingSent(str(error)) from error


def _redis_options(settings: Settings) -> dict[str, Any]:
    """One immediate retry. The pool replaces connections that died while idle.

    Reads and background work may be retried. A bid may not: if the first attempt was placed,
    the second may be refused because the session has ended, or replace the member's newer
    bid. The member gets OutcomeUnknown and decides.
    """
    return {
        "password": settings.redis_password or None,
        "decode_responses": True,
        # Undecodable bytes must reach the validation instead of failing the read.
        "encoding_errors": "backslashreplace",
        "socket_connect_timeout": REDIS_CONNECT_TIMEOUT_SECONDS,
        "socket_timeout": calls.REDIS_TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), RETRIES),
    }
