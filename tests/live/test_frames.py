"""What a watcher is shown, and how often."""

import time
from contextlib import ExitStack
from threading import Thread
from uuid import uuid4

import pytest
from sqlalchemy import text

from core.bidding.placing import Bidder
from core.bootstrap import Services
from core.sessions.sessions import SessionView
from tests.live.conftest import MAX_WATCHERS, Web
from tests.support.factories import Shop
from tests.support.http.client import Client
from tests.support.http.watching import prices

FLOOD_SECONDS = 3.0
FRAMES_PER_SECOND = 5
LAST_PRICE = 1_000_000


def flood(shop: Shop, session: SessionView, bidders: list[Bidder], came_at: list[float]) -> None:
    """Many bids a second, each of them in front, and a last one when frames have come."""
    price, stop_at = 1000, time.monotonic() + FLOOD_SECONDS
    while time.monotonic() < stop_at or len(came_at) <= FRAMES_PER_SECOND:
        price += 1
        shop.bid(bidders[price % len(bidders)], session, str(price))
        time.sleep(0.01)
    shop.bid(bidders[0], session, str(LAST_PRICE))


def scripts_run(services: Services) -> int:
    """How many Redis has run in all: one for a bid, one for a snapshot."""
    stats = services.redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))


def test_watcher_gets_the_board_at_once_as_the_http_route_serves_it(
    web: Web, shop: Shop, http: Client
) -> None:
    session = shop.session()
    shop.bid(shop.bidder("ada"), session, "150")

    with web.watch(session.session_id) as watcher:
        frame = watcher.frame()

    board = http.get(f"/api/leaderboard/{session.session_id}").json
    assert frame["type"] == "leaderboard_update"
    assert {**frame["data"], "server_time": None} == {**board, "server_time": None}
    assert list(frame["data"]) == list(board)


def test_watcher_sees_a_bid_without_asking(web: Web, shop: Shop) -> None:
    session = shop.session()
    with web.watch(session.session_id) as watcher:
        assert prices(watcher.frame()) == []

        shop.bid(shop.bidder(), session, "150")

        assert prices(watcher.frame()) == [150]


def test_watcher_sees_the_highest_bid_fall_with_the_price_that_stood(web: Web, shop: Shop) -> None:
    session, bidder = shop.session(allow_lower_bids=True), shop.bidder()
    with web.watch(session.session_id) as watcher:
        for price in (9_999_999_999.99, 150):
            shop.bid(bidder, session, str(price))
            frame = watcher.frame_until(lambda frame, price=price: prices(frame) == [price])
            assert frame["data"]["highest_bid"] == price


def test_watcher_of_a_board_at_rest_hears_nothing(web: Web, shop: Shop) -> None:
    session = shop.session()
    with web.watch(session.session_id) as watcher:
        watcher.frame()
        with pytest.raises(TimeoutError):
            watcher.frame(timeout=1)


def test_watcher_sees_a_session_paused_started_and_over(web: Web, shop: Shop) -> None:
    session = shop.session()
    with web.watch(session.session_id) as watcher:
        assert watcher.frame()["data"]["status"] == "active"
        shop.services.sessions.deactivate(session.session_id)
        assert watcher.frame()["data"]["status"] == "inactive"
        shop.services.sessions.activate(session.session_id)
        assert watcher.frame()["data"]["status"] == "active"
        shop.end(session)
        assert watcher.frame()["data"]["status"] == "ended"


def test_watcher_sees_a_cancelled_session_last_and_so_does_who_comes_later(
    web: Web, shop: Shop
) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    with web.watch(session.session_id) as watcher:
        watcher.frame()
        shop.services.session_edits.cancel(session.session_id, "Damaged.")
        last = watcher.frame()
        shop.services.closing.close(session.session_id)
        with web.watch(session.session_id) as later:
            for frame in (last, later.frame()):
                assert frame["type"] == "leaderboard_update"
                assert (frame["data"]["status"], frame["data"]["provisional"]) == (
                    "cancelled",
                    False,
                )
                assert frame["data"]["leaderboard"] == []
        with pytest.raises(TimeoutError):
            watcher.frame(timeout=1)


def test_many_bids_make_few_frames_and_the_last_state_arrives(web: Web, shop: Shop) -> None:
    session = shop.session()
    bidders = [shop.bidder() for _ in range(40)]
    with web.watch(session.session_id) as watcher:
        watcher.frame()
        bidding = Thread(target=flood, args=(shop, session, bidders, watcher.came_at))
        bidding.start()
        watcher.frame_until(lambda frame: prices(frame)[:1] == [LAST_PRICE])
        bidding.join()

        seconds = watcher.came_at[-1] - watcher.came_at[0]
        assert FRAMES_PER_SECOND < len(watcher.came_at) <= FRAMES_PER_SECOND * seconds + 2
        with pytest.raises(TimeoutError):
            watcher.frame(timeout=0.5)


def test_one_snapshot_serves_all_watchers(web: Web, shop: Shop, services: Services) -> None:
    session = shop.session()
    bidder = shop.bidder()
    shop.bid(bidder, session, "140")
    with ExitStack() as opened:
        watchers = [
            opened.enter_context(web.watch(session.session_id)) for _ in range(MAX_WATCHERS)
        ]
        for watcher in watchers:
            watcher.frame()
        before = scripts_run(services)

        shop.bid(bidder, session, "150")

        for watcher in watchers:
            assert prices(watcher.frame()) == [150]

        assert scripts_run(services) - before == 2


def test_watcher_learns_the_winners_when_the_results_are_final(
    web: Web, shop: Shop, http: Client
) -> None:
    session = shop.session(inventory=1)
    shop.bid(shop.bidder("ada"), session, "150")
    shop.bid(shop.bidder("bob"), session, "9000")
    with web.watch(session.session_id) as watcher:
        watcher.frame()

        shop.close(session)

        ended = watcher.frame_until(lambda frame: frame["type"] == "session_ended")
    results = http.get(f"/api/results/{session.session_id}").json
    assert [winner["username"] for winner in ended["data"]["winners"]] == ["bob"]
    assert ended["data"] == {name: results[name] for name in ended["data"]}
    assert set(results) - set(ended["data"]) == {"rankings", "page", "page_size", "total_pages"}


def test_the_end_is_told_once(web: Web, shop: Shop) -> None:
    session = shop.session()
    with web.watch(session.session_id) as watcher:
        watcher.frame()
        shop.close(session)
        watcher.frame_until(lambda frame: frame["type"] == "session_ended")
        with pytest.raises(TimeoutError):
            watcher.frame(timeout=1.5)
        watcher.socket.send("ping")
        assert watcher.socket.recv(timeout=10) == "pong"


def test_the_end_is_told_when_postgresql_answers_again(
    web: Web, shop: Shop, services: Services
) -> None:
    """The results are locked from before the process may look at them."""
    session = shop.session()
    with web.watch(session.session_id) as watcher:
        watcher.frame()
        [worker] = web.process.children()
        worker.suspend()
        shop.close(session)
        with services.engine.begin() as connection:
            connection.execute(text("LOCK TABLE rankings IN ACCESS EXCLUSIVE MODE"))
            worker.resume()
            with pytest.raises(TimeoutError):
                watcher.frame_until(lambda frame: frame["type"] == "session_ended", timeout=3)
        watcher.frame_until(lambda frame: frame["type"] == "session_ended")


def test_who_comes_after_the_end_gets_the_board_and_the_results(web: Web, shop: Shop) -> None:
    session = shop.session()
    shop.close(session)
    with web.watch(session.session_id) as watcher:
        board, ended = watcher.frame(), watcher.frame()
    assert (board["type"], board["data"]["provisional"]) == ("leaderboard_update", False)
    assert (ended["type"], ended["data"]["total_winners"]) == ("session_ended", 0)


@pytest.mark.parametrize("session_id", [uuid4(), "no-id", "%0d%0aX:%20y"])
def test_unknown_session_closes_with_its_code(web: Web, shop: Shop, session_id: object) -> None:
    with web.watch(session_id) as watcher:
        assert watcher.close_code() == 4404


def test_session_that_redis_lost_is_shown_all_the_same(web: Web, shop: Shop) -> None:
    session = shop.session()
    bidder = shop.bidder()
    shop.bid(bidder, session, "150")
    shop.drain(session)
    with web.watch(session.session_id) as watcher:
        watcher.frame()
        shop.services.redis.flushdb()
        shop.bid(bidder, session, "160")

        watcher.frame_until(lambda frame: prices(frame) == [160])


def test_ping_is_answered(web: Web, shop: Shop) -> None:
    with web.watch(shop.session().session_id) as watcher:
        watcher.frame()
        watcher.socket.send("ping")
        assert watcher.socket.recv(timeout=10) == "pong"
        watcher.socket.send("something else")
        watcher.socket.send("ping")
        assert watcher.socket.recv(timeout=10) == "pong"
