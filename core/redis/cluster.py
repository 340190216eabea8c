"""Redis Cluster: sessions spread over several masters by the hash tag in their keys.

Everything one script touches lies in its session's slot, so a bid is one call on one
node. What all sessions share cannot be read by a script there: each session has its own
copy of the logged-out tokens, and a member's weight is asked for at the first bid.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any, cast
from uuid import UUID

from redis import Redis, RedisCluster
from redis.cluster import ClusterNode, get_node_name
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - redis-py's own, no OSError
    SlotNotCoveredError,
)
from sqlalchemy import select

from core import errors
from core.bidlog.backlog import BacklogGuard, Share, room_in
from core.members.revocations import Revocations
from core.members.weights import Weights
from core.postgres.database import Database
from core.postgres.models import BiddingSession
from core.redis import keys
from core.rules.lifecycle import Status

# A dead node makes every thread ask for the new order at once; one question will do.
_ORDER_TRUSTED_SECONDS = 0.2
NO_MASTER = "No master of the cluster answers."
# A session's copy is read from PostgreSQL anew this often, so that whatever a failover
# took from it is put right.
_REVOCATIONS_TTL_SECONDS = 3600


class ClusterClient:
    """A RedisCluster that connects when it is first used, as a Redis does."""

    def __init__(self, addresses: tuple[tuple[str, int], ...], options: Mapping[str, Any]) -> None:
        self._addresses, self._options = addresses, options
        self._lock = Lock()
        self._cluster: RedisCluster | None = None
        self._ordered_at = monotonic()
        self._failed_node: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connected(), name)

    def connected(self) -> RedisCluster:
        """The cluster's client. Raises RedisClusterException when no node answers."""
        with self._lock:
            if self._cluster is None:
                self._cluster = RedisCluster(
                    startup_nodes=[
                        ClusterNode(host, port)  # type: ignore[no-untyped-call]
                        for host, port in self._addresses
                    ],
                    require_full_coverage=False,
                    # The addresses given stay: a lost node's successor is found from any.
                    dynamic_startup_nodes=False,
                    **self._options,
                )
                self._ordered_at = monotonic()
            return self._cluster

    def close(self) -> None:
        with self._lock:
            if self._cluster is not None:
                self._cluster.close()
                self._cluster = None

    def ping(self) -> bool:
        """Whether the cluster answers: a node that is away stops its own sessions only."""
        for node in self.masters():
            with suppress(*errors.REDIS_OUTAGES):
                return bool(self.connected().ping(target_nodes=node))
        raise ConnectionError(NO_MASTER)

    def masters(self) -> list[ClusterNode]:
        """Those that serve, as far as is known."""
        nodes: list[ClusterNode] = self.connected().get_primaries()  # type: ignore[no-untyped-call]
        return nodes

    def id_on_each_master(self) -> Iterator[UUID]:
        """For each master an id of no session whose keys would lie there."""
        missing = {(node.host, node.port) for node in self.masters()}
        for number in range(REDIS_CLUSTER_HASH_SLOTS):
            if not missing:
                return
            with suppress(SlotNotCoveredError):
                address = self.master_of(keys.session_params(UUID(int=number)))
                if address in missing:
                    missing.remove(address)
                    yield UUID(int=number)

    def master_of(self, key: str) -> tuple[str, int]:
        """Host and port of the node that serves this key, as far as is known."""
        node = self.connected().get_node_from_key(key)  # type: ignore[no-untyped-call]
        return node.host, node.port

    def server_of(self, key: str) -> Redis:
        """A client of the node that serves this key, as far as is known."""
        cluster = self.connected()
        node = cluster.get_node_from_key(key)  # type: ignore[no-untyped-call]
        return cluster.get_redis_connection(node)

    def known_master_of(self, key: str) -> tuple[str, int] | None:
        """`master_of` without waiting, for anything; None when it is not known."""
        cluster = self._cluster
        if cluster is not None:
            with suppress(SlotNotCoveredError):
                node = cluster.get_node_from_key(key)  # type: ignore[no-untyped-call]
                return node.host, node.port
        return None

    def note_failure(self, address: tuple[str, int]) -> None:
        """Ask this node last from now on: it may hang, and the question with it."""
        self._failed_node = get_node_name(*address)

    def learn_order(self) -> None:
        """Ask the cluster anew which node serves what; not when that was done just now."""
        cluster = self.connected()
        with self._lock:
            if monotonic() - self._ordered_at < _ORDER_TRUSTED_SECONDS:
                return
            self._ordered_at = monotonic()
        cluster.nodes_manager.initialize(last_failed_node_name=self._failed_node)


class ClusterRevocations(Revocations):
    """Keeps each session's own copy of the logged-out tokens besides the whole list."""

    def key_beside(self, session_id: UUID) -> str:
        return keys.revoked_tokens(session_id)

    def load_beside(self, session_id: UUID) -> None:
        self._fill(self.key_beside(session_id), lasting_seconds=_REVOCATIONS_TTL_SECONDS)

    def _refuse(self, name: str, *, until: float) -> None:
        super()._refuse(name, until=until)
        with self._redis.pipeline(transaction=False) as pipeline:
            for copy in self._copies():
                pipeline.zadd(copy, {name: until})
                # For one that was not there; others keep the time they have.
                pipeline.expire(copy, _REVOCATIONS_TTL_SECONDS, nx=True)
            pipeline.execute()

    def _admit(self, name: str) -> None:
        super()._admit(name)
        with self._redis.pipeline(transaction=False) as pipeline:
            for copy in self._copies():
                pipeline.zrem(copy, name)
            pipeline.execute()

    def _copies(self) -> list[str]:
        """Of all sessions that may take a bid. One made later reads the token from PostgreSQL."""
        with self._database.begin() as db:
            open_sessions = db.scalars(
                select(BiddingSession.id).where(BiddingSession.status != Status.ENDED.value)
            )
            return [keys.revoked_tokens(session_id) for session_id in open_sessions]


class ClusterBacklogGuard(BacklogGuard):
    """The fullest master bounds the backlog of all: whose sessions come next is not known.

    A master that is away is left out: its sessions take no bids, and must not stop others'.
    """

    def __init__(self, redis: Redis, *, max_bids: int) -> None:
        super().__init__(redis, max_bids=max_bids)
        self._cluster = cast(ClusterClient, redis)
        self._session_ids: Any = ()

    def _shares(self) -> list[Share]:
        """What each master holds that answers. Raises what redis-py raises when none does."""
        # The set lies on one of them. Without it, those last known are counted.
        with suppress(*errors.REDIS_OUTAGES):
            self._session_ids = self._redis.smembers(keys.LOADED_SESSIONS)
        sessions_of: dict[tuple[str, int], list[str]] = defaultdict(list)
        for session_id in self._session_ids:
            with suppress(SlotNotCoveredError):
                sessions_of[self._cluster.master_of(keys.bid_log(session_id))].append(session_id)
        shares = []
        for node in self._cluster.masters():
            with suppress(*errors.REDIS_OUTAGES):
                memory = self._redis.info("memory", target_nodes=node)
                bids = self._count(sessions_of[node.host, node.port])
                shares.append(Share(bids, room_in(memory)))
        if not shares:
            raise ConnectionError(NO_MASTER)
        return shares


class ClusterWeights(Weights):
    """The cache lies on the members' nodes, where no session's script can read it."""

    def __init__(self, database: Database, redis: Redis) -> None:
        super().__init__(database, redis)
        self._asked: set[Hashable] = set()

    def keys_beside(self, user_ids: Iterable[UUID | str]) -> list[str]:  # noqa: ARG002 - none, whoever it is
        return []

    def place_of(self, user_id: UUID) -> Hashable:
        return cast(ClusterClient, self._redis).known_master_of(keys.user_weight(user_id))

    def find(self, user_ids: Sequence[UUID]) -> dict[UUID, float]:
        """Asked of the members' node; not when that is away."""
        place = self.place_of(user_ids[0])
        if place in self._asked:
            # Whoever asked was given up: the node hangs, and must not take another thread.
            return self.read(user_ids)
        self._asked.add(place)
        try:
            return self._find_at_node(user_ids)
        finally:
            self._asked.discard(place)

    def _find_at_node(self, user_ids: Sequence[UUID]) -> dict[UUID, float]:
        try:
            node = cast(ClusterClient, self._redis).server_of(keys.user_weight(user_ids[0]))
            with node.pipeline(transaction=False) as pipeline:
                for user_id in user_ids:
                    pipeline.get(keys.user_weight(user_id))
                cached = pipeline.execute()
        except errors.REDIS_OUTAGES:
            return self.read(user_ids)
        known = {
            user_id: float(text) for user_id, text in zip(user_ids, cached, strict=True) if text
        }
        unknown = [user_id for user_id in user_ids if user_id not in known]
        return known | super().find(unknown) if unknown else known
