"""The lane on a cluster: each node's sessions wait for that node alone."""

import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis import Redis
from redis.crc import key_slot

from core import errors, outages
from core.bidding.placing import Bidder
from core.config import load_settings
from core.redis import keys
from core.redis.calls import ClusterCalls
from core.redis.cluster import ClusterClient
from core.redis.connecting import create_calls, create_redis
from core.runtime import Runtime
from core.sessions.sessions import SessionView
from dev.bench.servers.stack import BenchServers, seed_members
from dev.children import LOOPBACK
from dev.embedded import Cluster
from dev.embedded.cluster import ClusterNode
from dev.embedded.server import wait_until
from loadtest.sale.members import MemberToken, read_tokens
from tests.scale.clusters import (
    kill,
    master_of,
    master_of_key,
    on_two_masters,
    replica_of,
    shop_on,
    stopped,
)
from tests.support.factories import Shop
from tests.support.http.serving import serving

# More than one call holds: the last of them wait for the calls before theirs.
CROWD = 200
SETTLED_SECONDS = 60.0
MIGRATION_MS = 5000
ANSWER_SECONDS = 60.0
# Those of the server that a test starts.
OWN_SETTINGS = {"HOST", "PORT", "WEB_PROCESSES"}
PLAIN = {"BID_RATE_PER_SECOND": "0", "MAX_QUEUE_WAIT_MS": "20000", "REDIS_WAIT_REPLICAS": "0"}


@pytest.fixture
def shop(running: BenchServers, cluster: Cluster) -> Iterator[Shop]:
    with shop_on(running, {**cluster.settings(), **PLAIN}) as shop:
        yield shop


@pytest.fixture
def port(running: BenchServers, cluster: Cluster) -> Iterator[int]:
    environ = {name: text for name, text in running.environ.items() if name not in OWN_SETTINGS}
    with serving(**{**environ, **cluster.settings(), **PLAIN}) as port:
        yield port


class Calls:
    """A process's calls to the cluster, for a thread."""

    def __init__(self, running: BenchServers, cluster: Cluster) -> None:
        settings = load_settings({**running.environ, **cluster.settings()})
        self._runtime = Runtime.create(threads=4, max_wait_seconds=float("inf"))
        client: Any = create_redis(settings)
        self.client: ClusterClient = client
        calls = create_calls(settings, client, self._runtime, None, retries=0)
        assert isinstance(calls, ClusterCalls)
        self._calls = calls

    def close(self) -> None:
        self._runtime.close()
        self.client.close()

    def execute(self, *command: str | float) -> Any:
        return self._runtime.loop.run(self._calls.execute(*command))


@pytest.fixture
def calls(running: BenchServers, cluster: Cluster) -> Iterator[Calls]:
    with closing(Calls(running, cluster)) as calls:
        yield calls


def test_a_node_that_hangs_holds_up_its_own_sessions_only(
    running: BenchServers, cluster: Cluster, shop: Shop, port: int
) -> None:
    hung, healthy = on_two_masters(shop, cluster)
    members = read_tokens(seed_members(running, CROWD), CROWD)
    node = master_of(cluster, hung.session_id)
    with ExitStack() as stack:
        crowd = [stack.enter_context(connected(port)) for _ in members]
        connection = stack.enter_context(connected(port))
        for session in (hung, healthy):
            assert ask(connection, bid(session, members[0], 150))[0] == 200
        # So that nobody takes the node's place.
        kill(replica_of(cluster, node))
        node.ask("CONFIG SET", "min-replicas-to-write", 0)
        with stopped(node):
            for each, member in zip(crowd, members, strict=True):
                each.sendall(bid(hung, member, 200))
            for price in range(200, 220):
                assert ask(connection, bid(healthy, members[0], price))[1]["price"] == price
                assert ask(connection, look(healthy.session_id))[1]["highest_bid"] == price
            # All that happened before the last of the crowd had an answer.
            assert len(select.select(crowd, [], [], 0)[0]) < CROWD
        answers = [answer(each) for each in crowd]
    accepted = sum(status == 200 for status, _ in answers)
    assert {body["code"] for status, body in answers if status != 200} <= {
        "outcome_unknown",
        "temporarily_unavailable",
    }
    log = bids_in(node, hung)
    # The first bid that was placed, and of everybody one more at most.
    assert 1 + accepted <= len(log) == len(set(log))


def test_a_weight_on_a_lost_node_is_read_from_postgresql(cluster: Cluster, shop: Shop) -> None:
    session, lost = on_two_masters(shop, cluster)
    master = master_of(cluster, lost.session_id)
    hit = members_of(master, cluster, shop)
    kill(replica_of(cluster, master))
    kill(master)
    for bidder in hit:
        assert shop.bid(bidder, session, 200).user_weight == 2.5


def test_weights_on_a_node_that_hangs_do_not_take_all_threads(
    running: BenchServers, cluster: Cluster
) -> None:
    impatient = {**PLAIN, "WEB_THREADS": "4", "MAX_QUEUE_WAIT_MS": "500"}
    with shop_on(running, {**cluster.settings(), **impatient}) as shop:
        session, on_hung = on_two_masters(shop, cluster)
        master = master_of(cluster, on_hung.session_id)
        hit = members_of(master, cluster, shop)
        kill(replica_of(cluster, master))
        with stopped(master):
            for bidder in hit:
                assert shop.bid(bidder, session, 200).user_weight == 2.5


def test_nothing_was_taken_where_no_node_answers(cluster: Cluster, shop: Shop) -> None:
    bidder = Bidder(uuid4(), "nobody", token_id="")
    for node in cluster.nodes:
        kill(node)
    with pytest.raises(errors.BidNotTaken):
        shop.services.bidding.place(bidder, uuid4(), 100, schedule_drain=lambda _: None)


def test_nobody_waits_to_know_a_node(running: BenchServers, cluster: Cluster, calls: Calls) -> None:
    key = keys.write_probe(uuid4())
    with ThreadPoolExecutor(1) as pool, ExitStack() as hung:
        for node in cluster.nodes:
            hung.enter_context(stopped(node))
        connecting = pool.submit(calls.client.connected)
        assert wait_until(connecting.running, SETTLED_SECONDS)
        assert calls.client.cached_master_of(key) is None
        assert not connecting.done()
        hung.close()
        connecting.result()
    assert calls.client.cached_master_of(key) is not None


def test_the_order_is_not_asked_of_a_node_that_hangs(cluster: Cluster, calls: Calls) -> None:
    key = keys.write_probe(uuid4())
    calls.execute("INCR", key)
    node = master_of_key(cluster, key)
    kill(replica_of(cluster, node))
    before = connections_to(node)
    with stopped(node):
        with pytest.raises(outages.REDIS):
            calls.execute("INCR", key)
        for _ in range(20):
            calls.client.refresh_topology()
            # Longer than an answer is trusted.
            time.sleep(0.25)
    assert connections_to(node) == before + 1


def test_a_call_follows_its_key_to_another_node(cluster: Cluster, calls: Calls) -> None:
    # Nobody knows a node yet.
    names = [keys.write_probe(uuid4()) for _ in range(24)]
    assert [calls.execute("INCR", name) for name in names] == [1] * len(names)
    former = cluster.masters[0]
    replica_of(cluster, former).ask("CLUSTER FAILOVER")
    assert wait_until(lambda: not former.is_master(), SETTLED_SECONDS)
    assert [calls.execute("INCR", name) for name in names] == [2] * len(names)


def test_a_call_follows_its_key_while_a_slot_is_moving(cluster: Cluster, calls: Calls) -> None:
    session_id = uuid4()
    stays, leaves, new = (f"{name}:{{{session_id}}}" for name in ("stays", "leaves", "new"))
    for name in (stays, leaves):
        assert calls.execute("INCR", name) == 1
    source, target = begin_to_move(cluster, session_id)
    move(source, target, leaves)
    # What is not there yet is made where the slot is going.
    assert [calls.execute("INCR", name) for name in (stays, leaves, new)] == [2, 2, 1]
    assert source.ask("GET", stays) == "2"
    assert keys_of(target, session_id) == {leaves, new}


@pytest.mark.parametrize(
    ("allow_lower_bids", "key"), [(False, keys.bid_log), (True, keys.standing_prices)]
)
def test_a_bid_is_placed_once_while_its_session_is_moving(
    cluster: Cluster, shop: Shop, allow_lower_bids: bool, key: Callable[[UUID], str]
) -> None:
    session, bidder = shop.session(allow_lower_bids=allow_lower_bids), shop.bidder()
    for _ in range(2):
        shop.bid(bidder, session, 200)
    source, target = begin_to_move(cluster, session.session_id)
    shop.bid(bidder, session, 300)
    assert len(bids_in(source, session)) == 2
    # With keys on either side the script cannot run.
    first = key(session.session_id)
    move(source, target, first)
    for _ in range(2):
        with pytest.raises(errors.BidNotTaken):
            shop.bid(bidder, session, 400)
    move(source, target, *(keys_of(source, session.session_id) - {first}))
    assert len(bids_in(target, session)) == 2
    for _ in range(2):
        shop.bid(bidder, session, 500)
    assert [price for _, price in bids_in(target, session)] == ["200.00", "300.00", "500.00"]
    if allow_lower_bids:
        shop.bid(bidder, session, 250)
        board = shop.services.board.page(session.session_id, page=1, page_size=1)
        assert board.highest_bid == 250
    assert keys_of(source, session.session_id) == set()


def members_of(node: ClusterNode, cluster: Cluster, shop: Shop) -> list[Bidder]:
    """Members whose weights lie on this node; of none has it one."""
    bidders = [shop.bidder() for _ in range(30)]
    with shop.services.engine.begin() as db:
        db.exec_driver_sql("UPDATE users SET weight = 2.5")
    found = [
        bidder
        for bidder in bidders
        if master_of_key(cluster, keys.user_weight(bidder.user_id)) is node
    ]
    assert len(found) > 4
    return found


def begin_to_move(cluster: Cluster, session_id: UUID) -> tuple[ClusterNode, ClusterNode]:
    """Have the session's slot leave its master for another; both are returned."""
    slot = key_slot(keys.session_params(session_id).encode())
    source = master_of(cluster, session_id)
    target = next(node for node in cluster.masters if node is not source)
    target.ask("CLUSTER SETSLOT", slot, "IMPORTING", source.ask("CLUSTER MYID"))
    source.ask("CLUSTER SETSLOT", slot, "MIGRATING", target.ask("CLUSTER MYID"))
    return source, target


def move(source: ClusterNode, target: ClusterNode, *names: str) -> None:
    source.ask("MIGRATE", LOOPBACK, target.port(), "", 0, MIGRATION_MS, "KEYS", *names)


def keys_of(node: ClusterNode, session_id: UUID) -> set[str]:
    """What the node has of a session."""
    found: list[str] = node.ask("KEYS", f"*{{{session_id}}}*")
    return set(found)


def bids_in(node: ClusterNode, session: SessionView) -> list[tuple[str, str]]:
    """Member and price of each bid in the session's log on this node."""
    with closing(Redis(LOOPBACK, node.port(), decode_responses=True)) as client:
        pipeline = client.pipeline(transaction=False)
        # Lest a node that the slot is moving to send us to the other.
        pipeline.execute_command("ASKING")
        pipeline.xrange(keys.bid_log(session.session_id))
        _, entries = pipeline.execute()
    return [(fields["user_id"], fields["price"]) for _, fields in entries]


def connections_to(node: ClusterNode) -> int:
    """How many connections a node has taken, this question's own included."""
    return int(node.ask("INFO", "stats")["total_connections_received"])


def connected(port: int) -> "closing[socket.socket]":
    return closing(socket.create_connection((LOOPBACK, port), timeout=ANSWER_SECONDS))


def bid(session: SessionView, member: MemberToken, price: int) -> bytes:
    body = json.dumps({"session_id": str(session.session_id), "price": price})
    head = (
        "POST /api/bid HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Authorization: Bearer {member.token}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*head, "", body)).encode()


def look(session_id: UUID) -> bytes:
    return f"GET /api/leaderboard/{session_id} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def ask(connection: socket.socket, request: bytes) -> tuple[int, Any]:
    connection.sendall(request)
    return answer(connection)


def answer(connection: socket.socket) -> tuple[int, Any]:
    """Status and document of the next answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, f"the connection ended after {head!r}"
        head += byte
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(head.split()[1]), json.loads(body)
