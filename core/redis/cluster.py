"""Redis Cluster: sessions spread over several masters by the hash tag in their keys.

All keys of a script are in its session's slot, so a bid is one call to one node. A script
cannot read keys shared by all sessions: each session has its own copy of the revoked
tokens, and a member's weight is looked up for the first bid.
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

# Every thread notices a dead node at once; one refresh is enough for all.
_MIN_REFRESH_SECONDS = 0.2
NO_MASTER = "No master of the cluster answers."


class ClusterClient:
    """A RedisCluster that connects on first use, like Redis."""

    def __init__(self, addresses: tuple[tuple[str, int], ...], options: Mapping[str, Any]) -> None:
        self._addresses, self._options = addresses, options
        self._lock = Lock()
        self._cluster: RedisCluster | None = None
        self._refreshed_at = monotonic()
        self._failed_node: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connected(), name)

    def connected(self) -> RedisCluster:
        """The cluster's client. Raises RedisClusterException if no node answers."""
        with self._lock:
            if self._cluster is None:
                self._cluster = RedisCluster(
                    startup_nodes=[
                        ClusterNode(host, port)  # type: ignore[no-untyped-call]
                        for host, port in self._addresses
                    ],
                    require_full_coverage=False,
                    # Keep the configured addresses: any of them knows a lost node's successor.
                    dynamic_startup_nodes=False,
                    **self._options,
                )
                self._refreshed_at = monotonic()
            return self._cluster

    def close(self) -> None:
        with self._lock:
            if self._cluster is not None:
                self._cluster.close()
                self._cluster = None

    def ping(self) -> bool:
        """Whether any master answers: an outage of one affects only its own sessions."""
        for node in self.masters():
            with suppress(*outages.REDIS):
                return bool(self.connected().ping(target_nodes=node))
        raise ConnectionError(NO_MASTER)

    def masters(self) -> list[ClusterNode]:
        """The masters of the cached topology."""
        nodes: list[ClusterNode] = self.connected().get_primaries()  # type: ignore[no-untyped-call]
        return nodes

    def id_on_each_master(self) -> Iterator[UUID]:
        """For each master, an id of no session whose keys would be there."""
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
        """Host and port of the key's node in the cached topology; connects if necessary."""
        node = self.connected().get_node_from_key(key)  # type: ignore[no-untyped-call]
        return node.host, node.port

    def server_of(self, key: str) -> Redis:
        """A client of the key's node in the cached topology."""
        cluster = self.connected()
        node = cluster.get_node_from_key(key)  # type: ignore[no-untyped-call]
        return cluster.get_redis_connection(node)

    def cached_master_of(self, key: str) -> tuple[str, int] | None:
        """`master_of` without blocking; None if unknown."""
        cluster = self._cluster
        if cluster is not None:
            with suppress(SlotNotCoveredError):
                node = cluster.get_node_from_key(key)  # type: ignore[no-untyped-call]
                return node.host, node.port
        return None

    def note_failure(self, address: tuple[str, int]) -> None:
        """Query this node last in refreshes: it may hang."""
        self._failed_node = get_node_name(*address)

    def refresh_topology(self) -> None:
        """Reload the topology from the cluster, unless that was done just now."""
        cluster = self.connected()
        with self._lock:
            if monotonic() - self._refreshed_at < _MIN_REFRESH_SECONDS:
                return
            self._refreshed_at = monotonic()
        cluster.nodes_manager.initialize(last_failed_node_name=self._failed_node)
