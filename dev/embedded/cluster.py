"""A Redis Cluster on loopback, from the same wheel as the single server."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import redis

from dev.children import LOOPBACK, free_port
from dev.embedded.redis import RedisServer
from dev.embedded.server import wait_until
from dev.errors import DevError

SLOTS = 16384
NODE_TIMEOUT_MS = 2000
FORM_TIMEOUT_SECONDS = 60.0

CLUSTER_CONFIG = """\
cluster-enabled yes
cluster-port {bus_port}
cluster-config-file "nodes.conf"
cluster-node-timeout {node_timeout_ms}
cluster-require-full-coverage no
repl-diskless-sync-delay 0
min-replicas-to-write {min_replicas}
"""


class ClusterNode(RedisServer):
    """One server of a cluster. A master rejects writes that no replica would receive."""

    def __init__(self, folder: Path, *, min_replicas: int) -> None:
        super().__init__(folder)
        self._min_replicas = min_replicas

    def _config(self) -> str:
        return super()._config() + CLUSTER_CONFIG.format(
            bus_port=free_port(),
            node_timeout_ms=NODE_TIMEOUT_MS,
            min_replicas=self._min_replicas,
        )

    def ask(self, *command: str | int) -> Any:
        """This node's reply to a command."""
        with closing(self._client()) as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def meet(self, other: "ClusterNode") -> None:
        self.ask("CLUSTER MEET", LOOPBACK, other.port(), other.bus_port())

    def is_master(self) -> bool:
        """Whether the node is a master now."""
        return bool(self.ask("ROLE")[0] == "master")

    def bus_port(self) -> int:
        [line] = [
            line
            for line in self.config_file.read_text().splitlines()
            if line.startswith("cluster-port ")
        ]
        return int(line.split()[1])


class Cluster:
    """The nodes of a cluster: the masters first, then each master's replicas."""

    def __init__(self, folder: Path, *, masters: int = 3, replicas: int = 1) -> None:
        names = [f"node-{number}" for number in range(masters * (1 + replicas))]
        least = min(replicas, 1)
        self.nodes = [ClusterNode(folder / name, min_replicas=least) for name in names]
        self.masters = self.nodes[:masters]
        self._replicas = replicas

    def settings(self) -> dict[str, str]:
        """The settings to connect to the cluster and wait for a replica."""
        return {
            "REDIS_CLUSTER": ",".join(f"{LOOPBACK}:{node.port()}" for node in self.nodes),
            "REDIS_HOST": "",
            "REDIS_DB": "0",
            "REDIS_PASSWORD": "",
            "REDIS_PASSWORD_FILE": "",
            "REDIS_WAIT_REPLICAS": str(min(self._replicas, 1)),
        }

    def form(self) -> None:
        """Form a cluster of the started servers. Raises DevError when this fails."""
        self._share_slots()
        for node in self.nodes[1:]:
            self.nodes[0].meet(node)
        self._await("for all nodes to know each other", self._all_met)
        ids = [node.ask("CLUSTER MYID") for node in self.masters]
        for number, replica in enumerate(self.nodes[len(self.masters) :]):
            replica.ask("CLUSTER REPLICATE", ids[number % len(ids)])
        self._await("for all slots to be served and replicated", self._all_copied)

    def _share_slots(self) -> None:
        share = -(-SLOTS // len(self.masters))
        for number, master in enumerate(self.masters):
            master.ask("CLUSTER SET-CONFIG-EPOCH", number + 1)
            last = min((number + 1) * share, SLOTS) - 1
            master.ask("CLUSTER ADDSLOTSRANGE", number * share, last)

    def _all_met(self) -> bool:
        # CLUSTER REPLICATE needs a node that knows its master.
        return all(
            int(node.ask("CLUSTER INFO")["cluster_known_nodes"]) == len(self.nodes)
            for node in self.nodes
        )

    def _all_copied(self) -> bool:
        return all(self._sees_all_slots(node) for node in self.nodes) and all(
            _online_replicas(node) >= self._replicas for node in self.masters
        )

    @staticmethod
    def _sees_all_slots(node: ClusterNode) -> bool:
        try:
            known = node.ask("CLUSTER INFO")
        except redis.RedisError:
            return False
        return bool(known["cluster_state"] == "ok" and int(known["cluster_slots_ok"]) == SLOTS)

    @staticmethod
    def _await(description: str, condition: Any) -> None:
        if not wait_until(condition, FORM_TIMEOUT_SECONDS):
            raise DevError(f"The cluster did not form: waited {description}.")


@contextmanager
def embedded_cluster(folder: Path, *, masters: int = 3, replicas: int = 1) -> Iterator[Cluster]:
    """Run a new cluster in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder, masters=masters, replicas=replicas)
    with ExitStack() as started:
        for node in cluster.nodes:
            started.enter_context(node.running())
        cluster.form()
        yield cluster


def _online_replicas(master: ClusterNode) -> int:
    known = master.ask("INFO", "replication")
    return sum(
        value.get("state") == "online"
        for name, value in known.items()
        if name.startswith("slave") and isinstance(value, dict)
    )
