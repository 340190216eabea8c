"""The main loop's express lane on a cluster: each node has its own pipelines."""

import select
import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from core import keys
from core.bootstrap import create_calls, create_redis
from core.config import load_settings
from core.steps import Carrier, Command
from dev.bench.stack import Servers, seed_members
from dev.embedded import Cluster
from dev.embedded.server import wait_until
from loadtest.members import read_tokens
from tests.api.serving import serving
from tests.api.test_flash_worker import answer, ask, bid, connected, look
from tests.factories import Shop
from tests.scale.clusters import (
    kill,
    master_of,
    master_of_key,
    on_two_masters,
    replica_of,
    shop_on,
    stopped,
)
from web.channel import MAX_COMMANDS

# More than the lane has under way at once.
CROWD = 200
SETTLED_SECONDS = 60.0
PLAIN = {"BID_RATE_PER_SECOND": "0", "MAX_QUEUE_WAIT_MS": "20000", "REDIS_WAIT_REPLICAS": "0"}


@pytest.fixture
def shop(running: Servers, cluster: Cluster) -> Iterator[Shop]:
    with shop_on(running, cluster.settings()) as shop:
        yield shop


@pytest.fixture
def port(running: Servers, cluster: Cluster) -> Iterator[int]:
    with serving(**{**running.environ, **cluster.settings(), **PLAIN}) as port:
        yield port


def test_a_node_that_hangs_holds_up_its_own_sessions_only(
    running: Servers, cluster: Cluster, shop: Shop, port: int
) -> None:
    hung, healthy = on_two_masters(shop, cluster)
    [member] = read_tokens(seed_members(running, 1), 1)
    token = member.token
    with ExitStack() as stack:
        crowd: list[socket.socket] = [stack.enter_context(connected(port)) for _ in range(CROWD)]
        connection = stack.enter_context(connected(port))
        for session in (hung, healthy):
            assert ask(connection, bid(session, token, 150))[0] == 200
        with stopped(master_of(cluster, hung.session_id)):
            for each in crowd:
                each.sendall(bid(hung, token, 200))
            for price in range(200, 220):
                assert ask(connection, bid(healthy, token, price))[1]["price"] == price
                assert ask(connection, look(healthy.session_id))[1]["highest_bid"] == price
            # All that happened before the node was given up, after which it is not known what
            # became of a bid. Some were refused at once, for so many wait for the node already.
            answered = select.select(crowd, [], [], 0)[0]
            assert len(answered) <= CROWD - MAX_COMMANDS
            codes = {answer(each)[1]["code"] for each in answered}
            assert codes <= {"temporarily_unavailable"}


def test_a_weight_on_a_lost_node_is_read_from_postgresql(cluster: Cluster, shop: Shop) -> None:
    session, lost = on_two_masters(shop, cluster)
    master = master_of(cluster, lost.session_id)
    bidders = [shop.bidder() for _ in range(20)]
    hit = [
        bidder
        for bidder in bidders
        if master_of_key(cluster, keys.user_weight(bidder.user_id)) is master
    ]
    assert hit
    with shop.services.engine.begin() as db:
        db.exec_driver_sql("UPDATE users SET weight = 2.5")
    kill(replica_of(cluster, master))
    kill(master)
    for bidder in hit:
        assert shop.bid(bidder, session, 200).user_weight == 2.5


def test_a_pipeline_follows_its_keys_to_another_node(running: Servers, cluster: Cluster) -> None:
    settings = load_settings({**running.environ, **cluster.settings()})
    calls = create_calls(settings, create_redis(settings), None, retries=0)
    commands: list[Command] = [("INCR", keys.write_probe(uuid4())) for _ in range(24)]
    # Nobody knows a node yet, and the main loop must not wait for one to tell.
    assert calls.carrier_of(commands[0]) is calls
    assert calls.execute_commands(commands) == [1] * len(commands)
    batches: dict[Carrier, list[Command]] = defaultdict(list)
    for command in commands:
        batches[calls.carrier_of(command)].append(command)
    assert len(batches) == len(cluster.masters)
    former = cluster.masters[0]
    replica_of(cluster, former).ask("CLUSTER FAILOVER")
    assert wait_until(lambda: not former.is_master(), SETTLED_SECONDS)
    for carrier, batch in batches.items():
        assert carrier.execute_commands(batch) == [2] * len(batch)
