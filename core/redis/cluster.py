"""Redis Cluster: sessions spread over several masters by the hash tag in their keys.

Everything one script touches lies in its session's slot, so a bid is one call on one
node. What all sessions share cannot be read by a script there: each session has its own
copy of the logged-out tokens, and a member's weight is asked for at the first bid.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any
from uuid import UUID

from redis import Redis, RedisCluster
from redis.cluster import ClusterNode, get_node_name
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - redis-py's own, no OSError
    SlotNotCoveredError,
)

from core import outages
from core.redis import keys

# A dead node makes every thread ask for the new order at once; one question will do.
_ORDER_TRUSTED_SECONDS = 0.2
NO_MASTER = "No master of the cluster answers."


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
            with suppress(*outages.REDIS):
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
