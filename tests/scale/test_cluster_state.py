"""What all sessions of a cluster share: who is shut out, the backlog, whether it is well."""

from datetime import UTC, datetime, timedelta

import pytest

from core import errors
from core.bidlog.backlog import BID_BYTES, Backlog, Level
from core.operations import health
from core.operations.gauges import StateGauges
from dev.bench.servers.stack import BenchServers
from dev.embedded import Cluster
from dev.embedded.server import wait_until
from tests.scale.clusters import kill, master_of, on_two_masters, replica_of, shop_on, stopped
from tests.support.factories import Shop

FAILURE_SECONDS = 60.0


def test_a_logged_out_token_is_refused_on_every_node(
    running: BenchServers, cluster: Cluster
) -> None:
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
    running: BenchServers, cluster: Cluster
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
            shop.services.revocations.require_valid(bidder.token_id, bidder.user_id)
        membership.enable("bob")
        for session in sessions:
            assert not shop.bid(bidder, session, 400).replayed


def test_accounts_that_are_gone_are_refused_on_every_node_and_nameless_on_every_board(
    running: BenchServers, cluster: Cluster
) -> None:
    with shop_on(running, cluster.settings()) as shop:
        erased, deleted, lost, other = bidders = [shop.bidder() for _ in range(4)]
        sessions = on_two_masters(shop, cluster)
        for session in sessions:
            for bidder in bidders:
                shop.bid(bidder, session, 200)
        shop.services.erasure.erase(erased.user_id)
        with shop.services.engine.begin() as connection:
            by_id = "DELETE FROM users WHERE id = %s"
            connection.exec_driver_sql(by_id, (deleted.user_id,))
            # As if a backup were restored that does not have it.
            connection.exec_driver_sql("ALTER TABLE users DISABLE TRIGGER USER")
            connection.exec_driver_sql(by_id, (lost.user_id,))
            connection.exec_driver_sql("ALTER TABLE users ENABLE TRIGGER USER")
        shop.services.erasure.settle_due()
        assert shop.services.erasure.find_missing() == 1
        for session in [*sessions, shop.session()]:
            for gone in (erased, deleted, lost):
                with pytest.raises(errors.AccountDisabled):
                    shop.bid(gone, session, 300)
            assert not shop.bid(other, session, 300).replayed
        for session in sessions:
            page = shop.services.board.page(session.session_id, page=1, page_size=10)
            shown = {entry.user_id: entry.username for entry in page.leaderboard}
            assert shown == {
                bidder.user_id: other.username if bidder is other else "deleted member"
                for bidder in bidders
            }


def test_the_backlog_is_that_of_all_masters_and_the_fullest_bounds_it(
    running: BenchServers, cluster: Cluster
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
        assert checked(shop).persist_backlog == Level.FULL


def test_the_state_of_a_cluster_is_told(running: BenchServers, cluster: Cluster) -> None:
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
        assert checked(shop) == health.Health(
            database=health.OK, redis=health.OK, persist_backlog=Level.OK
        )


def test_a_hung_master_shows_in_health_and_so_does_its_recovery(
    running: BenchServers, cluster: Cluster
) -> None:
    """Its sessions get no bid; the others' do."""
    with shop_on(running, cluster.settings()) as shop:
        hung = master_of(cluster, on_two_masters(shop, cluster)[0].session_id)
        with stopped(hung):
            assert checked(shop).redis == health.PARTLY_UNREACHABLE
        assert wait_until(lambda: checked(shop).is_healthy, FAILURE_SECONDS)


def test_lost_masters_show_in_health(running: BenchServers, cluster: Cluster) -> None:
    with shop_on(running, cluster.settings()) as shop:
        sessions = on_two_masters(shop, cluster)
        for session in sessions:
            shop.bid(shop.bidder(), session, 200)
        lost, kept = (master_of(cluster, session.session_id) for session in sessions)
        # With its replica, so that nobody takes its place.
        kill(replica_of(cluster, lost))
        kill(lost)
        assert checked(shop).redis == health.PARTLY_UNREACHABLE
        assert servers_up(shop) == {"postgresql": 1, "redis": 0}
        assert shop.services.backlog.measure().bids == 1
        for node in cluster.nodes:
            if node is not kept and node.process():
                kill(node)
        # A cluster with most masters lost takes no write anywhere.
        assert wait_until(lambda: checked(shop).redis == health.REFUSING, FAILURE_SECONDS)
        kill(kept)
        assert checked(shop) == health.Health(
            database=health.OK, redis=health.UNREACHABLE, persist_backlog=health.UNKNOWN
        )


def servers_up(shop: Shop) -> dict[str, float]:
    """What the alert ServerDown looks at."""
    services = shop.services
    gauges = StateGauges(services.database, services.redis, services.backlog)
    [up] = [metric for metric in gauges.collect() if metric.name == "flashbid_server_up"]
    return {sample.labels["server"]: sample.value for sample in up.samples}


def checked(shop: Shop) -> health.Health:
    """What GET /health says."""
    services = shop.services
    return health.check(services.engine, services.redis, services.bidding, services.backlog)


def test_settings_show_masters_that_are_set_up_alike_once(
    running: BenchServers, cluster: Cluster
) -> None:
    with shop_on(running, cluster.settings()) as shop:
        masters = shop.services.redis.masters()  # type: ignore[attr-defined]
        read = shop.services.configurations.read
        [alike] = read().redis
        shop.services.redis.config_set("appendfsync", "everysec", target_nodes=masters[0])  # type: ignore[call-arg]
        shown = read()
        assert {node.appendfsync for node in shown.redis} == {alike.appendfsync, "everysec"}
        assert [sentence[:23] for sentence in shown.findings] == ["appendfsync is everysec"]
