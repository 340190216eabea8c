"""Wires the services of one process together. The only place that knows them all."""

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from argon2 import PasswordHasher
from redis import ConnectionPool, Redis
from redis import asyncio as redis_asyncio
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from sqlalchemy import Engine

from core import errors
from core.bidding.board import Board
from core.bidding.history import History
from core.bidding.placing import Bidding
from core.bidlog.backlog import BacklogGuard
from core.bidlog.drain import BidLog
from core.config import Settings
from core.members.accounts import Accounts
from core.members.revocations import Revocations
from core.members.roles import Membership
from core.members.weights import Weights
from core.notifications.announcing import Telling
from core.notifications.channels import Channels
from core.notifications.email import Mailer
from core.notifications.inbox import Notifications
from core.notifications.webhooks import Webhooks
from core.operations.admin_log import AdminActions
from core.operations.audit import Audit
from core.operations.stats import Statistics
from core.postgres.database import Database, create_database, create_database_engine
from core.redis.calls import MAX_CONNECTIONS, Calls, ClusterCalls
from core.redis.cluster import (
    ClusterBacklogGuard,
    ClusterClient,
    ClusterRevocations,
    ClusterWeights,
)
from core.redis.replication import Replicas, Replication
from core.runtime import EventLoop, Runtime
from core.sessions.closing import Closing
from core.sessions.loading import SessionLoader
from core.sessions.products import Catalogue
from core.sessions.results import Results
from core.sessions.sessions import Sessions

REDIS_CONNECT_TIMEOUT_SECONDS = 2.0
# Longer than a slow fsync: a reply lost to a time-out leaves a member in doubt.
REDIS_TIMEOUT_SECONDS = 5.0
_RETRIES = 1


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a process may call, over one engine and one Redis client."""

    settings: Settings
    runtime: Runtime
    engine: Engine
    redis: Redis
    database: Database
    accounts: Accounts
    revocations: Revocations
    membership: Membership
    admin_actions: AdminActions
    catalogue: Catalogue
    sessions: Sessions
    bidding: Bidding
    board: Board
    history: History
    results: Results
    bid_log: BidLog
    backlog: BacklogGuard
    loader: SessionLoader
    closing: Closing
    telling: Telling
    notifications: Notifications
    mailer: Mailer
    webhooks: Webhooks
    channels: Channels
    audit: Audit
    weights: Weights
    statistics: Statistics


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
            raise errors.NothingSent(str(error)) from error


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
        "retry": Retry(NoBackoff(), _RETRIES),
    }


def bootstrap(settings: Settings, *, password_hasher: PasswordHasher | None = None) -> Services:
    """Build the services. Connects to nothing yet."""
    engine = create_database_engine(settings)
    database = create_database(engine)
    redis = create_redis(settings)
    runtime = Runtime.create(
        threads=settings.web_threads, max_wait_seconds=settings.max_queue_wait_seconds
    )
    server_of = redis.server_of if isinstance(redis, ClusterClient) else lambda _: redis
    replication = Replication(server_of, settings.redis_replicas)
    bid_log = BidLog(database, redis, batch_size=settings.drain_batch_size, replication=replication)
    loader = SessionLoader(database, redis, bid_log)
    sessions = Sessions(database, redis, loader, replication)
    is_cluster = bool(settings.redis_cluster)
    weights = (ClusterWeights if is_cluster else Weights)(database, redis)
    guard = ClusterBacklogGuard if is_cluster else BacklogGuard
    backlog = guard(redis, max_bids=settings.backlog_max_bids)
    revocations = (ClusterRevocations if is_cluster else Revocations)(database, redis)
    mailer = Mailer(database, settings.mail)
    webhooks = Webhooks(database, settings.webhook)
    return Services(
        settings=settings,
        runtime=runtime,
        engine=engine,
        redis=redis,
        database=database,
        accounts=Accounts(
            database,
            redis,
            first_account_is_admin=settings.first_account_is_admin,
            hasher=password_hasher,
        ),
        revocations=revocations,
        membership=Membership(database, revocations),
        admin_actions=AdminActions(database),
        catalogue=Catalogue(database),
        sessions=sessions,
        bidding=Bidding(
            runtime,
            create_calls(settings, redis, runtime, settings.redis_replicas, retries=0),
            loader,
            weights,
            revocations,
            backlog,
            bids_per_second=settings.bid_rate_per_second,
            burst=settings.bid_rate_burst,
        ),
        board=Board(
            database,
            redis,
            sessions,
            loader,
            runtime=runtime,
            calls=create_calls(settings, redis, runtime, None, retries=_RETRIES),
        ),
        history=History(database, bid_log),
        results=Results(database, sessions),
        bid_log=bid_log,
        backlog=backlog,
        loader=loader,
        closing=Closing(
            database,
            redis,
            bid_log,
            loader,
            ended_keys_ttl_seconds=settings.ended_session_keys_ttl_seconds,
            replication=replication,
        ),
        telling=Telling(database, by_email=mailer.is_on, by_webhook=webhooks.is_on),
        notifications=Notifications(database),
        mailer=mailer,
        webhooks=webhooks,
        channels=Channels(mailer, webhooks),
        audit=Audit(database, redis),
        weights=weights,
        statistics=Statistics(database, redis),
    )
