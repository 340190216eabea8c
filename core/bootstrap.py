"""Builds the services of one process. The only module that imports them all."""

from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from redis import Redis
from sqlalchemy import Engine

from core.bidding.board import Board
from core.bidding.history import History
from core.bidding.placing import Bidding
from core.bidlog.backlog import BacklogGuard, ClusterBacklogGuard
from core.bidlog.drain import BidLog
from core.config import Settings
from core.members.accounts import Accounts
from core.members.api_keys import ApiKeys
from core.members.directory import Directory
from core.members.erasure import Erasure
from core.members.idempotency import Idempotency
from core.members.password_policy import PasswordPolicy
from core.members.revocations import ClusterRevocations, Revocations
from core.members.roles import Membership
from core.members.weights import ClusterWeights, Weights
from core.notifications.announcing import Announcing
from core.notifications.channels import Channels
from core.notifications.email import Mailer
from core.notifications.endpoints import Endpoints
from core.notifications.inbox import Notifications
from core.notifications.outbid import Outbid
from core.notifications.reminders import Reminders
from core.notifications.webhooks import Webhooks
from core.operations.admin_log import AdminActions
from core.operations.archiving import Archiving
from core.operations.audit import Audit
from core.operations.configuration import Configurations
from core.operations.simulations import Simulations
from core.operations.stats import Statistics
from core.orders.exports import Exports
from core.orders.listing import OfferLists
from core.orders.offers import Offers
from core.postgres.database import Database, create_database, create_database_engine
from core.redis.cluster import ClusterClient
from core.redis.connecting import RETRIES, create_calls, create_redis
from core.redis.replication import Replication
from core.runtime import Runtime
from core.sessions.closing import Closing
from core.sessions.editing import SessionEdits
from core.sessions.loading import SessionLoader
from core.sessions.products import Catalogue
from core.sessions.results import Results
from core.sessions.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Services:
    """A process's services, on one engine and one Redis client."""

    settings: Settings
    runtime: Runtime
    engine: Engine
    redis: Redis
    database: Database
    accounts: Accounts
    revocations: Revocations
    membership: Membership
    directory: Directory
    erasure: Erasure
    api_keys: ApiKeys
    idempotency: Idempotency
    admin_actions: AdminActions
    catalogue: Catalogue
    sessions: Sessions
    session_edits: SessionEdits
    bidding: Bidding
    board: Board
    history: History
    results: Results
    bid_log: BidLog
    backlog: BacklogGuard
    loader: SessionLoader
    closing: Closing
    announcing: Announcing
    outbid: Outbid
    reminders: Reminders
    notifications: Notifications
    mailer: Mailer
    webhooks: Webhooks
    endpoints: Endpoints
    channels: Channels
    offers: Offers
    offer_lists: OfferLists
    archiving: Archiving
    audit: Audit
    weights: Weights
    statistics: Statistics
    configurations: Configurations
    simulations: Simulations
    exports: Exports


def bootstrap(settings: Settings, *, password_hasher: PasswordHasher | None = None) -> Services:
    """Build the services without connecting to any server."""
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
    sessions = Sessions(
        database,
        redis,
        loader,
        replication,
        allow_lower_bids=settings.allow_lower_bids,
        currency=settings.currency,
        image_hosts=settings.image_hosts,
    )
    is_cluster = bool(settings.redis_cluster)
    weights = (ClusterWeights if is_cluster else Weights)(database, redis)
    guard = ClusterBacklogGuard if is_cluster else BacklogGuard
    backlog = guard(redis, max_bids=settings.backlog_max_bids)
    revocations = (ClusterRevocations if is_cluster else Revocations)(database, redis)
    mailer = Mailer(database, runtime.loop, settings.mail, public_url=settings.public_url)
    destinations = settings.webhook_destinations
    webhooks = Webhooks(database, runtime.loop, settings.webhook, destinations)
    announcing = Announcing(database, by_email=mailer.is_on)
    offers = Offers(database, announcing.tell_successors, announcing.tell_offers_ended)
    results = Results(database, sessions)
    accounts = Accounts(
        database,
        redis,
        first_account_is_admin=settings.first_account_is_admin,
        policy=PasswordPolicy(settings.passwords),
        hasher=password_hasher,
        max_wait_seconds=runtime.max_wait_seconds,
    )
    return Services(
        settings=settings,
        runtime=runtime,
        engine=engine,
        redis=redis,
        database=database,
        accounts=accounts,
        revocations=revocations,
        membership=Membership(database, revocations),
        directory=Directory(database),
        erasure=Erasure(database, redis, revocations, unusable_hash=accounts.unusable_hash),
        api_keys=ApiKeys(database),
        idempotency=Idempotency(database),
        admin_actions=AdminActions(database),
        catalogue=Catalogue(database, settings.image_hosts),
        sessions=sessions,
        session_edits=SessionEdits(database, redis, sessions, replication, settings.image_hosts),
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
            calls=create_calls(settings, redis, runtime, None, retries=RETRIES),
        ),
        history=History(database, bid_log),
        results=results,
        bid_log=bid_log,
        backlog=backlog,
        loader=loader,
        closing=Closing(
            database,
            redis,
            bid_log,
            loader,
            ended_keys_ttl_seconds=settings.ended_session_keys_ttl_seconds,
            settle=offers.open_first,
            replication=replication,
        ),
        announcing=announcing,
        outbid=Outbid(database, redis, by_email=mailer.is_on),
        reminders=Reminders(database, redis, by_email=mailer.is_on),
        notifications=Notifications(database),
        mailer=mailer,
        webhooks=webhooks,
        endpoints=Endpoints(database, settings.webhook, destinations),
        channels=Channels(mailer, webhooks),
        offers=offers,
        offer_lists=OfferLists(database),
        archiving=Archiving(engine, database, redis),
        audit=Audit(database, redis),
        weights=weights,
        statistics=Statistics(database, redis),
        configurations=Configurations(settings, database, redis, mailer, webhooks),
        simulations=Simulations(database, sessions, results),
        exports=Exports(
            engine, database, redis, sessions, results, folder=Path(settings.exports_folder)
        ),
    )
