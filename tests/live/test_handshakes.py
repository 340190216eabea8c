"""How watchers come and go, and what happens when there is no place for them."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask_jwt_extended import create_access_token

from dev.embedded.redis import RedisServer
from dev.embedded.server import wait_until
from tests.live.conftest import MAX_WATCHERS, TIMEOUT_SECONDS, UPGRADE, Web, has_place, refusal
from tests.support.factories import Shop
from tests.support.http.client import Client, scrape
from tests.support.http.watching import prices, raw_watch, read_to_the_end


def highest(frame: dict[str, Any]) -> float:
    return frame["data"]["highest_bid"]


def metric(web: Web, name: str) -> str:
    """The lines of a metric, as web shows them."""
    lines = scrape(web.port).splitlines()
    return "\n".join(line for line in lines if line.startswith(name))


def test_watchers_take_no_thread_from_bidders(web: Web, shop: Shop, app: Flask) -> None:
    """The web process has one thread, and all places are taken."""
    session, bidder = shop.session(), shop.bidder()
    with app.app_context():
        token = create_access_token(
            str(bidder.user_id), additional_claims={"username": bidder.username}
        )
    client = Client(web.port, token)
    with ExitStack() as opened:
        watchers = [
            opened.enter_context(web.watch(session.session_id)) for _ in range(MAX_WATCHERS)
        ]
        for watcher in watchers:
            watcher.frame()

        bid = client.bid(str(session.session_id), 150)

        assert bid.status == 200
        counted = f" {MAX_WATCHERS}.0"
        assert wait_until(lambda: counted in metric(web, "flashbid_watchers"), TIMEOUT_SECONDS)
        assert all(prices(watcher.frame()) == [150] for watcher in watchers)
    client.close()
    assert wait_until(lambda: " 0.0" in metric(web, "flashbid_watchers"), TIMEOUT_SECONDS)


def test_no_more_watchers_than_places(web: Web, shop: Shop) -> None:
    path = f"/ws/{shop.session().session_id}"
    session_id = path.rpartition("/")[2]
    with ExitStack() as opened:
        first = opened.enter_context(web.watch(session_id))
        for _ in range(MAX_WATCHERS - 1):
            opened.enter_context(web.watch(session_id)).frame()

        status, headers, body = refusal(web, path, {**UPGRADE, "X-Request-ID": "mine"})

        assert (status, headers["Retry-After"]) == (503, "2")
        assert headers["Content-Type"] == "application/problem+json"
        assert (headers["X-Request-ID"], headers["Cache-Control"]) == ("mine", "no-store")
        problem = json.loads(body)
        assert (problem["code"], problem["request_id"]) == ("temporarily_unavailable", "mine")

        first.socket.close()
        assert wait_until(lambda: has_place(web, session_id), TIMEOUT_SECONDS)


@pytest.mark.parametrize("way", ["closed", "cut", "unknown", "malformed"])
def test_every_place_is_given_back(web: Web, shop: Shop, way: str) -> None:
    session_id: object = {"unknown": uuid4(), "malformed": "no-id"}.get(
        way, shop.session().session_id
    )
    for _ in range(3 * MAX_WATCHERS):
        assert wait_until(lambda: has_place(web, session_id), TIMEOUT_SECONDS)
        if way == "cut":
            raw_watch(web.port, session_id).close()
    assert wait_until(lambda: " 0.0" in metric(web, "flashbid_watchers"), TIMEOUT_SECONDS)


def test_watchers_are_told_that_the_server_stops_and_may_come_back(web: Web, shop: Shop) -> None:
    session = shop.session()
    with web.watch(session.session_id) as watcher, web.watch(session.session_id) as other:
        watcher.frame()
        other.frame()

        web.process.terminate()

        assert watcher.close_code() == other.close_code() == 1012
    assert web.process.exit_code(TIMEOUT_SECONDS) == 0

    web.start()
    with web.watch(session.session_id) as watcher:
        assert prices(watcher.frame()) == []
        shop.bid(shop.bidder(), session, "150")
        assert prices(watcher.frame()) == [150]


def test_a_watcher_who_reads_nothing_does_not_hold_up_the_stop(web: Web, shop: Shop) -> None:
    session = shop.session()
    bidders = [shop.bidder() for _ in range(50)]
    for price, bidder in enumerate(bidders, start=100):
        shop.bid(bidder, session, str(price))
    with raw_watch(web.port, session.session_id), web.watch(session.session_id) as good:
        for price in range(1000, 1015):
            shop.bid(bidders[0], session, str(price))
            good.frame_until(lambda frame, price=price: highest(frame) == price)
        web.process.terminate()
        assert good.close_code() == 1012
        assert web.process.exit_code(3 * TIMEOUT_SECONDS) is not None


def test_a_killed_process_is_a_broken_connection(web: Web, shop: Shop) -> None:
    with web.watch(shop.session().session_id) as watcher:
        watcher.frame()
        web.process.kill()
        assert watcher.close_code() == 1006


def test_watcher_is_asked_to_come_again_while_the_board_cannot_be_read(
    web: Web, shop: Shop
) -> None:
    session = shop.session()
    with web.changed(REDIS_HOST="127.0.0.1", REDIS_PORT="1"), ExitStack() as opened:
        watchers = [
            opened.enter_context(web.watch(session.session_id)) for _ in range(MAX_WATCHERS)
        ]
        for watcher in watchers:
            assert watcher.close_code() == 1013
            assert watcher.socket.close_reason == "Live updates are unavailable right now."
    assert_said(web, "watcher_dismissed", "warning")


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may stop."""
    server = RedisServer(tmp_path / "redis")
    with server.running():
        yield server


def test_watchers_stay_through_an_outage_of_redis(
    web: Web, shop: Shop, own_redis: RedisServer
) -> None:
    """The session is loaded from PostgreSQL into a Redis that only this web process knows."""
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "150")
    shop.drain(session)
    with web.changed(**own_redis.settings()), web.watch(session.session_id) as watcher:
        assert prices(watcher.frame()) == [150]
        process = own_redis.process()
        assert process is not None
        with stopped(process):
            with pytest.raises(TimeoutError):
                watcher.frame(timeout=7)
            watcher.socket.send("ping")
            assert watcher.socket.recv(timeout=TIMEOUT_SECONDS) == "pong"
        process.kill()
        process.wait(TIMEOUT_SECONDS)
        with pytest.raises(TimeoutError):
            watcher.frame(timeout=1)
        own_redis.restart()
        # The next change arrives, whatever the ticks of the outage met.
        own_redis._client().hset(f"session:params:{{{session.session_id}}}", "status", "inactive")
        assert watcher.frame_until(lambda frame: frame["data"]["status"] == "inactive")


@contextmanager
def stopped(process: Any) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_an_error_that_nobody_expected_ends_no_ticks(web: Web, shop: Shop) -> None:
    """Some looks of this process fail as only a defect can make them fail."""
    session = shop.session()
    with (
        web.changed(
            "from web.page_cache.board import BoardPages; current = BoardPages.current\n"
            "async def fail(self, session_id, **page):\n"
            "    # The first look is let through.\n"
            "    looks.append(1)\n"
            "    assert not 1 < len(looks) < 6, 'a defect'\n"
            "    return await current(self, session_id, **page)\n"
            "looks = []; BoardPages.current = fail"
        ),
        web.watch(session.session_id) as watcher,
    ):
        watcher.frame()
        shop.bid(shop.bidder(), session, "150")
        assert prices(watcher.frame()) == [150]
    assert_said(web, "live_tick_failed", "a defect")


def test_an_error_that_nobody_expected_dismisses_a_newcomer_with_a_word(
    web: Web, shop: Shop
) -> None:
    session = shop.session()
    with web.changed(
        "from web.page_cache.board import BoardPages\n"
        "async def fail(self, session_id, **page):\n"
        "    raise AssertionError('a defect')\n"
        "BoardPages.current = fail"
    ):
        with web.watch(session.session_id) as watcher:
            assert watcher.close_code() == 1013
        assert wait_until(lambda: has_place(web, session.session_id), TIMEOUT_SECONDS)
    assert_said(web, "watcher_dismissed", "a defect")


def assert_said(web: Web, *words: str) -> None:
    lines = web.process.log.read_text().splitlines()
    assert any(all(word in line for word in words) for line in lines)


def test_watcher_that_stops_reading_is_dropped_and_the_others_stay(web: Web, shop: Shop) -> None:
    session = shop.session()
    bidders = [shop.bidder() for _ in range(50)]
    for price, bidder in enumerate(bidders, start=100):
        shop.bid(bidder, session, str(price))
    with (
        web.changed("from web.front import connections; connections.RESPONSE_READ_SECONDS = 1.0"),
        web.watch(session.session_id) as good,
        raw_watch(web.port, session.session_id) as slow,
    ):
        sent = 0
        for price in range(1000, 1030):
            shop.bid(bidders[0], session, str(price))
            frame = good.frame_until(lambda frame, price=price: highest(frame) == price)
            sent += len(str(frame))

        assert wait_until(lambda: " 1.0" in metric(web, "flashbid_watchers"), TIMEOUT_SECONDS)
        slow.settimeout(TIMEOUT_SECONDS)
        assert read_to_the_end(slow) < sent / 2
        shop.bid(bidders[0], session, "2000")
        assert highest(good.frame()) == 2000


def test_dead_connection_is_noticed_and_gives_its_place_back(web: Web, shop: Shop) -> None:
    """It answers no ping; a browser does so by itself."""
    session = shop.session()
    quick_pings = (
        "from web.front.server import Worker\n"
        "Worker.CONFIG_KWARGS |= {'ws_ping_interval': 0.5, 'ws_ping_timeout': 0.5}"
    )
    with web.changed(quick_pings), ExitStack() as opened:
        alive = opened.enter_context(web.watch(session.session_id))
        alive.frame()
        for _ in range(MAX_WATCHERS - 1):
            opened.enter_context(raw_watch(web.port, session.session_id))

        assert wait_until(lambda: has_place(web, session.session_id), TIMEOUT_SECONDS)

        alive.socket.send("ping")
        assert alive.socket.recv(timeout=TIMEOUT_SECONDS) == "pong"


def test_a_line_of_the_log_for_every_watcher_there_is_not(web: Web, shop: Shop) -> None:
    """And what there is is JSON, as the server's own words are."""
    session_id = shop.session().session_id
    with web.watch(session_id) as watcher:
        watcher.frame()
    lines = web.process.log.read_text().splitlines()
    assert [line for line in lines if str(session_id) in line] == []
    assert [line for line in lines if not line.startswith("{")] == []
