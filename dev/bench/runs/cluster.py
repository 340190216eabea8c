"""Bids on a Redis Cluster of three masters; replicas would cost extra."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast
from uuid import UUID

from core.bootstrap import bootstrap
from core.config import load_settings
from core.redis import keys
from core.redis.cluster import ClusterClient
from dev.bench.runs.compare import CompareRuns, Side
from dev.bench.runs.http import BenchSale
from dev.bench.servers.stack import (
    APPLICATION,
    BenchServers,
    Program,
    close,
    open_session,
    web_server,
    worker,
)
from dev.children import LOOPBACK
from dev.embedded import embedded_cluster

# Database 1 is the broker of the stack on one Redis.
_BROKER_DATABASE = 2


class ClusterRuns(CompareRuns):
    """Compares bids on a cluster and on one Redis."""

    def cluster(self) -> None:
        """Saturate one session per master, and one session on one Redis."""
        with _on_cluster(self._servers) as servers, _stack(servers) as (program, port):
            spread = BenchSale(
                servers.services, _session_on_each_master(servers), self._tokens_path
            )
            alone, web = self._open_sale(), self._stack.web.process
            sides = (
                Side("cluster", spread, port, {"web, cluster": program.process}),
                Side("one Redis", alone, self._stack.web_port, {"web, one Redis": web}),
            )
            self._compare("cluster", sides)


@contextmanager
def _on_cluster(servers: BenchServers) -> Iterator[BenchServers]:
    """The same servers with a cluster instead of Redis."""
    with embedded_cluster(servers.folder / "cluster", replicas=0) as cluster:
        broker = f"redis://{LOOPBACK}:{servers.settings.redis_port}/{_BROKER_DATABASE}"
        values = {**servers.environ, **cluster.settings(), "CELERY_BROKER_URL": broker}
        settings = load_settings(values)
        services = bootstrap(settings)
        try:
            yield replace(servers, environ=values, settings=settings, services=services)
        finally:
            close(services)


@contextmanager
def _stack(servers: BenchServers) -> Iterator[tuple[Program, int]]:
    """Run the application and a worker; yields the web server and its port."""
    with (
        web_server(servers, "cluster-web", APPLICATION) as (program, port),
        worker(servers, "cluster-worker") as drains,
    ):
        program.await_ready(f"http://{LOOPBACK}:{port}/health")
        drains.await_ready()
        yield program, port


def _session_on_each_master(servers: BenchServers) -> tuple[UUID, ...]:
    services, cluster = servers.services, cast(ClusterClient, servers.services.redis)
    found: dict[tuple[str, int], UUID] = {}
    while len(found) < len(cluster.masters()):
        session_id = open_session(services)
        found[cluster.master_of(keys.session_params(session_id))] = session_id
    return tuple(found.values())
