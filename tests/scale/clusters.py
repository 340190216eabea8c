"""The application on a cluster, and which node has what."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

from argon2 import PasswordHasher
from redis.crc import key_slot

from core.bootstrap import Services, bootstrap
from core.config import load_settings
from core.redis import keys
from core.sessions.sessions import SessionView
from dev.bench.servers.stack import BenchServers, close
from dev.embedded import Cluster
from dev.embedded.cluster import SLOTS, ClusterNode
from tests.support.factories import Shop

# A busy machine takes its time to connect.
PATIENT = {"MAX_QUEUE_WAIT_MS": "20000"}


@contextmanager
def shop_on(running: BenchServers, settings: Mapping[str, str]) -> Iterator[Shop]:
    services: Services = bootstrap(
        load_settings({**running.environ, **PATIENT, **settings}),
        password_hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1),
    )
    try:
        yield Shop(services)
    finally:
        close(services)


def master_of(cluster: Cluster, session_id: UUID | str) -> ClusterNode:
    """The node that was made to serve the session's slot."""
    return master_of_key(cluster, keys.session_params(session_id))


def master_of_key(cluster: Cluster, key: str) -> ClusterNode:
    slot: int = key_slot(key.encode())
    share = -(-SLOTS // len(cluster.masters))
    return cluster.masters[slot // share]


def replica_of(cluster: Cluster, master: ClusterNode) -> ClusterNode:
    return cluster.nodes[len(cluster.masters) + cluster.masters.index(master)]


def on_two_masters(shop: Shop, cluster: Cluster) -> list[SessionView]:
    """A session on the first master, and one on the second."""
    found: dict[int, SessionView] = {}
    while not {0, 1} <= found.keys():
        session = shop.session()
        found[cluster.masters.index(master_of(cluster, session.session_id))] = session
    return [found[0], found[1]]


@contextmanager
def stopped(node: ClusterNode) -> Iterator[None]:
    """A node that neither dies nor answers."""
    process = node.process()
    assert process is not None
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def kill(node: ClusterNode) -> None:
    process = node.process()
    assert process is not None
    process.send_signal(signal.SIGKILL)
    process.wait(10)
