"""Sessions on a Redis Cluster, and a master lost in the middle of the sale.

SCALE_SESSIONS and SCALE_BIDS make the sale larger.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from redis import Redis
from redis.crc import key_slot

from core import errors, health, keys
from core.backlog import BID_BYTES, Backlog, BacklogGuard, Level
from core.bidding import Bidding
from core.bootstrap import Services, bootstrap
from core.config import load_settings
from core.gauges import StateGauges
from core.sessions import SessionView
from dev.bench.stack import Servers, close
from dev.embedded import Cluster, embedded_cluster
from dev.embedded.cluster import SLOTS, ClusterNode
from dev.embedded.server import wait_until
from tests.factories import Shop
from tests.scale.conftest import MakeSale

SESSIONS = int(os.environ.get("SCALE_SESSIONS", "12"))
BIDS = int(os.environ.get("SCALE_BIDS", "1500"))
FAILOVER_SECONDS = 60.0
SALE_SECONDS = 240.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with embedded_cluster(tmp_path / "cluster") as cluster:
        yield cluster


def master_of(cluster: Cluster, session_id: UUID | str) -> ClusterNode:
    """The node that was made to serve the session's slot."""
    slot: int = key_slot(keys.session_params(session_id).encode())
    share = -(-SLOTS // len(cluster.masters))
    return cluster.masters[slot // share]


def replica_of(cluster: Cluster, master: ClusterNode) -> ClusterNode:
    return cluster.nodes[len(cluster.masters) + cluster.masters.index(master)]


@contextmanager
def shop_on(running: Servers, settings: Mapping[str, str]) -> Iterator[Shop]:
    services: Services = bootstrap(
        load_settings({**running.environ, **settings}),
        password_hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1),
    )
    try:
        yield Shop(services)
    finally:
        close(services)


def test_a_sale_on_a_cluster_runs_from_first_bid_to_results(
    running: Servers, cluster: Cluster
) -> None:
    with shop_on(running, cluster.settings()) as shop:
        sessions = [shop.session(beta=0.0) for _ in range(6)]
        bidders = [shop.bidder() for _ in range(4)]
        assert len({master_of(cluster, session.session_id).folder for session in sessions}) > 1
        for session in sessions:
            for number, bidder in enumerate(bidders):
                assert shop.bid(bidder, session, 200 + number).rank == 1
            assert shop.bid(bidders[0], session, 200).replayed
            shop.close(session)
            results = shop.services.results.get(session.session_id, page=1, page_size=10)
            assert [entry.price for entry in results.rankings] == [203, 202, 201, 200]


def test_a_logged_out_token_is_refused_on_every_node(running: Servers, cluster: Cluster) -> None:
    with shop_on(running, cluster.settings()) as shop:
        sessions = [shop.session() for _ in range(6)]
        bidder = shop.bidder()
        for session in sessions[:3]:
            shop.bid(bidder, session, 200)
        in_an_hour = datetime.now(UTC) + timedelta(hours=1)
        shop.services.revocations.revoke(bidder.token_id, in_an_hour)
        for session in [*sessions, shop.session()]:
            with pytest.raises(errors.TokenRevoked):
                shop.bid(bidder, session, 300)


def test_a_disabled_member_is_refused_on_every_node_and_let_in_again(
    running: Servers, cluster: Cluster
) -> None:
    with shop_on(running, cluster.settings()) as shop:
        membership = shop.services.membership
        bidder, other = shop.bidder("bob"), shop.bidder()
        sessions = on_two_masters(shop, cluster)
        # The bid script has this session's list already; it makes the other's at its first bid.
        shop.bid(bidder, sessions[0], 200)
        membership.disable("bob")
        for session in [*sessions, shop.session()]:
            with pytest.raises(errors.AccountDisabled):
                shop.bid(bidder, session, 300)
            assert not shop.bid(other, session, 300).replayed
        with pytest.raises(errors.AccountDisabled):
            shop.services.revocations.require_good(bidder.token_id, bidder.user_id)
        membership.enable("bob")
        for session in sessions:
            assert not shop.bid(bidder, session, 400).replayed


def test_the_backlog_is_that_of_all_masters_and_the_fullest_bounds_it(
    running: Servers, cluster: Cluster
) -> None:
    with shop_on(running, cluster.settings()) as shop:
        sessions, measure = on_two_masters(shop, cluster), shop.services.backlog.measure
        for session in sessions:
            shop.bid(shop.bidder(), session, 200)
        assert measure() == Backlog(2, shop.services.settings.backlog_max_bids)
        full, roomy = cluster.masters[:2]
        used_bytes = full.ask("INFO", "memory")["used_memory"]
        roomy.ask("CONFIG SET", "maxmemory", used_bytes * 20)
        assert 1000 < measure().max_bids < used_bytes * 20 // BID_BYTES
        full.ask("CONFIG SET", "maxmemory", used_bytes)
        assert measure().level is Level.FULL
        assert health.check_readiness(*asked(shop)).backlog == health.NEAR_BOUND


def test_the_state_of_a_cluster_is_told(running: Servers, cluster: Cluster) -> None:
    with shop_on(running, cluster.settings()) as shop:
        services = shop.services
        for session in on_two_masters(shop, cluster):
            shop.bid(shop.bidder(), session, 200)
        gauges = StateGauges(services.database, services.redis, services.backlog)
        shown = {metric.name: metric.samples for metric in gauges.collect()}
        assert [sample.value for sample in shown["flashbid_server_up"]] == [1, 1]
        assert shown["flashbid_backlog_bids"][0].value == 2
        assert 0 < shown["flashbid_backlog_oldest_seconds"][0].value < 60
        assert shown["flashbid_backlog_max_bids"][0].value == services.settings.backlog_max_bids
        assert health.check_readiness(*asked(shop)).is_ready
        assert health.check(services.engine, services.redis, services.backlog) == health.Health(
            database=health.OK, redis=health.OK, persist_backlog=Level.OK
        )


def test_the_weight_of_a_first_bid_is_the_cached_one(running: Servers, cluster: Cluster) -> None:
    with shop_on(running, cluster.settings()) as shop:
        bidder, session = shop.bidder(), shop.session()
        shop.services.redis.set(keys.user_weight(bidder.user_id), "3.25")
        assert shop.bid(bidder, session, 200).user_weight == 3.25
        shop.services.redis.set(keys.user_weight(bidder.user_id), "4.5")
        assert shop.bid(bidder, session, 300).user_weight == 3.25


def test_a_bid_that_no_replica_has_is_not_confirmed_nor_is_its_replay(
    running: Servers, cluster: Cluster
) -> None:
    with shop_on(running, cluster.settings()) as shop:
        bidder, session = shop.bidder(), shop.session()
        shop.bid(bidder, session, 200)
        master = master_of(cluster, session.session_id)
        with stopped(replica_of(cluster, master)):
            for _ in range(2):
                with pytest.raises(errors.OutcomeUnknown):
                    shop.bid(bidder, session, 300)
            with pytest.raises(errors.Unconfirmed):
                shop.services.sessions.end_now(session.session_id)
            with pytest.raises(errors.Unconfirmed):
                shop.services.bid_log.run_once(session.session_id)
        assert wait_until(lambda: is_confirmed(shop, session.session_id), FAILOVER_SECONDS)
        assert shop.rows("SELECT count(*) FROM bids") == [(0,)]


@pytest.mark.parametrize(("replicas_waited_for", "kept"), [("1", True), ("0", False)])
def test_control_without_waiting_an_answered_bid_is_lost_with_its_master(
    running: Servers, cluster: Cluster, replicas_waited_for: str, kept: bool
) -> None:
    settings = {**cluster.settings(), "REDIS_WAIT_REPLICAS": replicas_waited_for}
    with shop_on(running, settings) as shop:
        first, last, session = shop.bidder(), shop.bidder(), shop.session()
        shop.bid(first, session, 200)
        master = master_of(cluster, session.session_id)
        replica = replica_of(cluster, master)
        was_answered = True
        master.ask("CONFIG SET", "min-replicas-to-write", 0)
        kill(replica)
        try:
            shop.bid(last, session, 300)
        except errors.OutcomeUnknown:
            was_answered = False
        kill(master)
        replica.restart()
        # Started anew without its master it would not take its place unasked.
        replica.ask("CLUSTER FAILOVER", "TAKEOVER")
        assert wait_until(replica.is_master, FAILOVER_SECONDS)
        master.restart()
        board = wait_for_board(shop, session.session_id)
        assert was_answered is not kept
        assert [entry.user_id for entry in board] == [first.user_id]


def test_no_answered_bid_is_lost_with_a_master_in_mid_sale(
    running: Servers, cluster: Cluster, make_sale: MakeSale
) -> None:
    stack, sale = make_sale(cluster.settings(), sessions=SESSIONS)
    with sale.bidding():
        assert wait_until(lambda: sale.count >= BIDS // 2, SALE_SECONDS)
        lost = master_of(cluster, sale.sessions[0])
        hit = [name for name in sale.sessions if master_of(cluster, name) is lost]
        kill(lost)
        killed_at = time.time()
        assert wait_until(replica_of(cluster, lost).is_master, FAILOVER_SECONDS)
        served_at = time.time()
        lost.restart()
        assert wait_until(
            lambda: all(after(sale.accepted[name], killed_at) for name in hit), FAILOVER_SECONDS
        )
        assert wait_until(lambda: sale.count >= BIDS, SALE_SECONDS)
    recovered = max(after(sale.accepted[name], killed_at)[0] for name in hit)
    sale.close()
    verdicts = sale.verdicts({**running.environ, **cluster.settings()})
    print(  # noqa: T201 - the figures, for whoever runs this
        f"{len(sale.sessions)} sessions, {len(hit)} of them on the lost master; {sale.count} bids "
        f"accepted, {dict(sale.kinds)}; a successor after {served_at - killed_at:.1f} s, bids in "
        f"all sessions again after {recovered - killed_at:.1f} s"
    )
    for verdict in verdicts:
        assert verdict.holds, "\n".join(verdict.lines()) + stack.said()


def test_a_lost_shard_holds_up_no_other_shard_s_closes(running: Servers, cluster: Cluster) -> None:
    with shop_on(running, cluster.settings()) as shop:
        sessions = [shop.session() for _ in range(8)]
        lost = master_of(cluster, sessions[0].session_id)
        kill(replica_of(cluster, lost))
        kill(lost)
        for session in sessions:
            is_lost = master_of(cluster, session.session_id) is lost
            assert shop.services.closing.claim(session.session_id) is not is_lost


def test_a_lost_master_makes_no_web_process_unready(running: Servers, cluster: Cluster) -> None:
    with shop_on(running, cluster.settings()) as shop:
        sessions = on_two_masters(shop, cluster)
        for session in sessions:
            shop.bid(shop.bidder(), session, 200)
        lost, kept = (master_of(cluster, session.session_id) for session in sessions)
        # With its replica, so that nobody takes its place.
        kill(replica_of(cluster, lost))
        kill(lost)
        assert is_served(shop)
        assert shop.services.backlog.measure().bids == 1
        for node in cluster.nodes:
            if node is not kept and node.process():
                kill(node)
        # A cluster with most masters lost takes no write anywhere.
        assert wait_until(lambda: not health.check_readiness(*asked(shop)).is_ready, 60.0)
        kill(kept)
        assert not is_served(shop)


def on_two_masters(shop: Shop, cluster: Cluster) -> list[SessionView]:
    """A session on the first master, and one on the second."""
    found: dict[int, SessionView] = {}
    while not {0, 1} <= found.keys():
        session = shop.session()
        found[cluster.masters.index(master_of(cluster, session.session_id))] = session
    return [found[0], found[1]]


def asked(shop: Shop) -> tuple[Redis, Bidding, BacklogGuard]:
    """What readiness is asked of."""
    return shop.services.redis, shop.services.bidding, shop.services.backlog


def is_served(shop: Shop) -> bool:
    """Whether a balancer finds this process healthy and ready."""
    services = shop.services
    is_healthy = health.check(services.engine, services.redis, services.backlog).is_healthy
    return is_healthy and health.check_readiness(*asked(shop)).is_ready


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


def after(moments: list[float], moment: float) -> list[float]:
    return [each for each in moments if each > moment]


def is_confirmed(shop: Shop, session_id: UUID) -> bool:
    try:
        shop.services.sessions.deactivate(session_id)
    except (errors.TemporarilyUnavailable, errors.SessionEnded, *errors.REDIS_OUTAGES) as error:
        return isinstance(error, errors.SessionEnded)
    return True


def wait_for_board(shop: Shop, session_id: UUID) -> list:
    boards: list[list] = []

    def is_read() -> bool:
        try:
            page = shop.services.board.page(session_id, page=1, page_size=10)
        except errors.REDIS_OUTAGES:
            return False
        boards.append(list(page.leaderboard))
        return True

    assert wait_until(is_read, FAILOVER_SECONDS)
    return boards[-1]
