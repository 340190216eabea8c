"""Redis Cluster: sessions spread over several masters by the hash tag in their keys.

Everything one script touches lies in its session's slot, so a bid is one call on one
node. What all sessions share cannot be read by a script there: each session has its own
copy of the logged-out tokens, and a member's weight is asked for at the first bid.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any, cast
from uuid import UUID

from redis import Redis, RedisCluster
from redis.cluster import ClusterNode
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - redis-py's own, no OSError
    MovedError,
    RedisClusterException,
    SlotNotCoveredError,
    TimeoutError,  # noqa: A004 - likewise
)
from sqlalchemy import select

from core import errors, keys
from core.backlog import BacklogGuard, Share, room_in
from core.combiner import CallCombiner, Replicas, key_of
from core.lifecycle import Status
from core.models import BiddingSession
from core.steps import Carrier, Command, Query, Steps
from core.tokens import Revocations
from core.weights import Weights

# A dead node makes every thread ask for the new order at once; one question will do.
_ORDER_TRUSTED_SECONDS = 0.2
# After one of these another node may serve the key.
_ORDER_HAS_CHANGED = (
    MovedError,
    ConnectionError,
    TimeoutError,
    ClusterDownError,
    SlotNotCoveredError,
)
_NOT_TOLD: tuple[type[Exception], ...] = (errors.Unconfirmed, *errors.REDIS_OUTAGES)
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

    def known_master_of(self, key: str) -> tuple[str, int] | None:
        """`master_of` without waiting; None when it is not known."""
        if self._cluster is not None:
            with suppress(SlotNotCoveredError):
                return self.master_of(key)
        return None

    def learn_order(self) -> None:
        """Ask the cluster anew which node serves what; not when that was done just now."""
        cluster = self.connected()
        with self._lock:
            if monotonic() - self._ordered_at < _ORDER_TRUSTED_SECONDS:
                return
            self._ordered_at = monotonic()
        cluster.nodes_manager.initialize()


class ClusterCalls:
    """Carries calls to the node of their key, combined for each node.

    A node that does not answer holds up only its own sessions' calls. Nothing waits here
    for a failover: the call fails, and is made again by whoever made it.
    """

    def __init__(
        self,
        cluster: ClusterClient,
        connect: Callable[[str, int], Redis],
        replicas: Replicas | None,
    ) -> None:
        self._cluster, self._connect, self._replicas = cluster, connect, replicas
        self._lock = Lock()
        self._nodes: dict[tuple[str, int], _Node] = {}

    def execute_command(self, *command: str | float) -> Any:
        """The command's reply. Raises what redis-py raises, and Unconfirmed."""
        try:
            address = self._cluster.master_of(key_of(command))
            return self._node_at(address).combiner.execute_command(*command)
        except Exception as error:  # noqa: BLE001 - raised again unless it can be put right
            [reply] = self.put_right([command], [error])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def carrier_of(self, command: Command) -> Carrier:
        """The command's node; all of them where that has to be asked for first."""
        address = self._cluster.known_master_of(key_of(command))
        return self if address is None else self._node_at(address)

    def execute_commands(self, commands: Sequence[Command]) -> list[Any]:
        """Replies from whatever nodes have the keys, or each one's error in its place."""
        try:
            self._cluster.learn_order()
        except Exception as error:  # noqa: BLE001 - each caller is told
            return [error] * len(commands)
        addresses = [self._cluster.known_master_of(key_of(command)) for command in commands]
        return self._ask_at(addresses, commands)

    def put_right(self, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        """These replies of a node, with those of the right one where it was the wrong one."""
        if any(isinstance(reply, _ORDER_HAS_CHANGED) for reply in replies):
            with suppress(RedisClusterException, *errors.REDIS_OUTAGES):
                self._cluster.learn_order()
        moved = [at for at, reply in enumerate(replies) if isinstance(reply, MovedError)]
        addresses = [replies[at].node_addr for at in moved]
        answers = self._ask_at(addresses, [commands[at] for at in moved])
        for at, answer in zip(moved, answers, strict=True):
            replies[at] = answer
        return [
            # To redis-py, a MovedError is an AskError.
            self._ask(command) if type(reply) is AskError else reply
            for command, reply in zip(commands, replies, strict=True)
        ]

    def _ask_at(
        self, addresses: Sequence[tuple[str, int] | None], commands: Sequence[Command]
    ) -> list[Any]:
        """Each command's reply from the node at its address; one pipeline a node."""
        replies: list[Any] = [SlotNotCoveredError(NO_MASTER)] * len(commands)
        places_at: dict[tuple[str, int], list[int]] = defaultdict(list)
        for at, address in enumerate(addresses):
            if address is not None:
                places_at[address].append(at)
        for address, places in places_at.items():
            node = self._node_at(address)
            answers = node.combiner.execute_commands([commands[at] for at in places])
            for at, answer in zip(places, answers, strict=True):
                replies[at] = answer
        return replies

    def _ask(self, command: Command) -> Any:
        """The reply while the key's slot is moving, or the error. redis-py knows the way."""
        try:
            reply = self._cluster.connected().execute_command(*command)  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - the caller is told
            return error
        return errors.Unconfirmed() if self._replicas else reply

    def _node_at(self, address: tuple[str, int]) -> "_Node":
        node = self._nodes.get(address)
        if node is None:
            with self._lock:
                combiner = CallCombiner(self._connect(*address), self._replicas)
                node = self._nodes.setdefault(address, _Node(combiner, self))
        return node


class _Node:
    """One node's calls."""

    def __init__(self, combiner: CallCombiner, calls: ClusterCalls) -> None:
        self.combiner, self._calls = combiner, calls

    def execute_commands(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, or each one's error in its place."""
        return self._calls.put_right(commands, self.combiner.execute_commands(commands))


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

    def keys_beside(self, user_id: UUID) -> tuple[str, ...]:  # noqa: ARG002 - none, whoever it is
        return ()

    def steps(self, user_id: UUID) -> Steps[float]:
        """Asked of the member's node, as a bid is of the session's; not when that is away."""
        try:
            cached = yield Query(("GET", keys.user_weight(user_id)))
        except _NOT_TOLD:
            weight: float = yield partial(self.read, user_id)
            return weight
        return (yield from super().steps(user_id)) if cached is None else float(cached)
