"""Sessions on a Redis Cluster, and a master lost in the middle of the sale.

SCALE_SESSIONS and SCALE_BIDS make the sale larger.
"""

import os
import time
from uuid import UUID

import pytest

from core import errors, outages
from core.redis import keys
from dev.bench.servers.stack import BenchServers
from dev.embedded import Cluster
from dev.embedded.cluster import ClusterNode
from dev.embedded.server import wait_until
from tests.scale.clusters import kill, master_of, master_of_key, replica_of, shop_on, stopped
from tests.scale.conftest import MakeSale
from tests.support.factories import Shop

SESSIONS = int(os.environ.get("SCALE_SESSIONS", "12"))
BIDS = int(os.environ.get("SCALE_BIDS", "1500"))
FAILOVER_SECONDS = 60.0
SALE_SECONDS = 240.0


def test_a_sale_on_a_cluster_runs_from_first_bid_to_results(
    running: BenchServers, cluster: Cluster
) -> None:
    with shop_on(running, cluster.settings()) as shop:
        sessions = [shop.session(beta=0.0, allow_lower_bids=n % 2 == 0) for n in range(6)]
        bidders = [shop.bidder() for _ in range(4)]
        assert len({master_of(cluster, session.session_id).folder for session in sessions}) > 1
        for session in sessions:
            for number, bidder in enumerate(bidders):
                assert shop.bid(bidder, session, 200 + number).rank == 1
            assert shop.bid(bidders[0], session, 200).replayed
            prices = [203, 202, 201, 200]
            if session.allow_lower_bids:
                shop.bid(bidders[-1], session, 199)
                prices = [202, 201, 200, 199]
            board = shop.services.board.page(session.session_id, page=1, page_size=10)
            assert board.highest_bid == prices[0]
            shop.close(session)
            results = shop.services.results.get(session.session_id, page=1, page_size=10)
            assert [entry.price for entry in results.rankings] == prices


def test_the_weight_of_a_first_bid_is_the_cached_one(
    running: BenchServers, cluster: Cluster
) -> None:
    with shop_on(running, cluster.settings()) as shop:
        bidder, session = shop.bidder(), shop.session()
        shop.services.redis.set(keys.user_weight(bidder.user_id), "3.25")
        assert shop.bid(bidder, session, 200).user_weight == 3.25
        shop.services.redis.set(keys.user_weight(bidder.user_id), "4.5")
        assert shop.bid(bidder, session, 300).user_weight == 3.25


def test_a_bid_that_no_replica_has_is_not_confirmed_nor_is_its_replay(
    running: BenchServers, cluster: Cluster
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
    running: BenchServers, cluster: Cluster, replicas_waited_for: str, kept: bool
) -> None:
    settings = {**cluster.settings(), "REDIS_WAIT_REPLICAS": replicas_waited_for}
    with shop_on(running, settings) as shop:
        first, last, session = shop.bidder(), shop.bidder(), shop.session()
        shop.bid(first, session, 200)
        master = master_of(cluster, session.session_id)
        replica = replica_of(cluster, master)
        was_answered = True
        master.ask("CONFIG SET", "min-replicas-to-write", 0)
        # Nobody has waited for that where bids do not: the loss to be seen is the next one.
        assert wait_until(lambda: has_all_of(replica, master), FAILOVER_SECONDS)
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
    running: BenchServers, cluster: Cluster, make_sale: MakeSale
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
        assert verdict.holds, "\n".join(verdict.lines()) + stack.log_tails()


def test_a_lost_shard_holds_up_no_other_shard_s_closes(
    running: BenchServers, cluster: Cluster
) -> None:
    with shop_on(running, cluster.settings()) as shop:
        sessions = [shop.session() for _ in range(8)]
        for session in sessions:
            shop.end(session)
        # The one that has the list of loaded sessions as well.
        lost = master_of_key(cluster, keys.LOADED_SESSIONS)
        kill(replica_of(cluster, lost))
        kill(lost)
        closing = shop.services.closing
        for session in sessions:
            is_lost = master_of(cluster, session.session_id) is lost
            assert closing.claim(session.session_id) is not is_lost
            assert is_lost or closing.close(session.session_id)


def has_all_of(replica: ClusterNode, master: ClusterNode) -> bool:
    written: int = master.ask("INFO", "replication")["master_repl_offset"]
    return bool(replica.ask("INFO", "replication")["slave_repl_offset"] >= written)


def after(moments: list[float], moment: float) -> list[float]:
    return [each for each in moments if each > moment]


def is_confirmed(shop: Shop, session_id: UUID) -> bool:
    try:
        shop.services.sessions.deactivate(session_id)
    except (errors.TemporarilyUnavailable, errors.SessionEnded, *outages.REDIS) as error:
        return isinstance(error, errors.SessionEnded)
    return True


def wait_for_board(shop: Shop, session_id: UUID) -> list:
    boards: list[list] = []

    def is_read() -> bool:
        try:
            page = shop.services.board.page(session_id, page=1, page_size=10)
        except outages.REDIS:
            return False
        boards.append(list(page.leaderboard))
        return True

    assert wait_until(is_read, FAILOVER_SECONDS)
    return boards[-1]
