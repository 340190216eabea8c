"""Clients of Redis, of both kinds: for threads, and for an event loop."""

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
from core.redis.calls import MAX_CONNECTIONS, Calls, ClusterCalls
from core.redis.cluster import ClusterClient
from core.runtime import EventLoop, Runtime

REDIS_CONNECT_TIMEOUT_SECONDS = 2.0
# Longer than a slow fsync: a reply lost to a time-out leaves a member in doubt.
REDIS_TIMEOUT_SECONDS = 5.0
RETRIES = 1


def create_redis(settings: Settings) -> Redis:
    """A pooled client of the one Redis, or of the cluster where one is configured."""
    if settings.redis_cluster:
        # The same commands, though no Redis to the type checker.
        return cast(Redis, ClusterClient(settings.redis_cluster, _redis_options(settings)))
    return _connect(settings, settings.redis_host, settings.redis_port)


def create_calls(
    settings: Settings, redis: Redis, runtime: Runtime, replicas: Replicas | None, *, retries: int
) -> Calls | ClusterCalls:
    """What carries an event loop's calls, confirmed by so many replicas.

    `retries`: how often they are sent again when no reply comes. Bids never are.
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
        "max_connections": MAX_CONNECTIONS,
        # While they are on, the pool takes no notice of a connection that has ended.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    pool = _Pool(host=host, port=port, db=settings.redis_db, **options)
    loop.at_end(pool.aclose)
    return redis_asyncio.Redis.from_pool(pool)


class _Pool(redis_asyncio.ConnectionPool):
    """Tells a server that cannot be reached from one that took a command and was lost."""

    async def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Return a connection that is up. Raises NothingSent."""
        try:
            return await super().get_connection(*args, **kwargs)  # type: ignore[no-untyped-call]
        except (redis_errors.ConnectionError, redis_errors.TimeoutError) as error:
            raise outages.NothingSent(str(error)) from error


def _redis_options(settings: Settings) -> dict[str, Any]:
    """One retry, at once. A connection that died idle the pool replaces by itself.

    Boards and background work may ask twice. A bid may not: Redis may have placed the first
    and refuse the second, as the session has ended by then, or place it over a newer one of
    the member's. Whose reply is lost is told so, and decides.
    """
    return {
        "password": settings.redis_password or None,
        "decode_responses": True,
        # Bytes that are no text must reach the checks, not stop the reader before them.
        "encoding_errors": "backslashreplace",
        "socket_connect_timeout": REDIS_CONNECT_TIMEOUT_SECONDS,
        "socket_timeout": REDIS_TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), RETRIES),
    }
