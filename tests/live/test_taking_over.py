"""How connections come to the live process, and what happens when it has no place or is away."""

import http.client
import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from flask import Flask
from flask_jwt_extended import create_access_token
from websockets.exceptions import InvalidStatus

from core.config import PROJECT_ROOT
from dev.stack import wait_until
from tests.factories import Shop
from tests.live.conftest import MAX_WATCHERS, Pair
from tests.live.watching import prices, raw_watch, read_to_the_end
from tests.system.client import Client

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def refusal(pair: Pair, session_id: object, headers: dict[str, str] | None = None) -> Any:
    """Status, code and Retry-After of a request that is not upgraded."""
    connection = http.client.HTTPConnection("127.0.0.1", pair.port, timeout=20)
    connection.request("GET", f"/ws/{session_id}", headers=UPGRADE if headers is None else headers)
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body)["code"], answer.headers["Retry-After"]


def metric(pair: Pair, name: str) -> str:
    """The lines of a metric, as web shows them."""
    with urlopen(f"http://127.0.0.1:{pair.port}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return "\n".join(line for line in lines if line.startswith(name))


def test_watchers_take_no_thread_from_bidders(pair: Pair, shop: Shop, app: Flask) -> None:
    """The web process has one thread, and all places are taken."""
    session, bidder = shop.session(), shop.bidder()
    with app.app_context():
        token = create_access_token(
            str(bidder.user_id), additional_claims={"username": bidder.username}
        )
    client = Client(pair.port, token)
    with ExitStack() as opened:
        watchers = [
            opened.enter_context(pair.watch(session.session_id)) for _ in range(MAX_WATCHERS)
        ]
        for watcher in watchers:
            watcher.frame()

        bid = client.bid(str(session.session_id), 150)

        assert bid.status == 200
        counted = f" {MAX_WATCHERS}.0"
        assert wait_until(lambda: counted in metric(pair, "flashbid_watchers"), timeout_seconds=20)
        assert all(prices(watcher.frame()) == [150] for watcher in watchers)
    client.close()


def test_no_more_watchers_than_places(pair: Pair, shop: Shop) -> None:
    session = shop.session()
    with ExitStack() as opened:
        first = opened.enter_context(pair.watch(session.session_id))
        for _ in range(MAX_WATCHERS - 1):
            opened.enter_context(pair.watch(session.session_id)).frame()

        assert refusal(pair, session.session_id) == (503, "temporarily_unavailable", "2")

        first.socket.close()
        assert wait_until(lambda: has_place(pair, session.session_id), 10)


def has_place(pair: Pair, session_id: object) -> bool:
    try:
        with pair.watch(session_id):
            return True
    except InvalidStatus:
        return False


def test_dead_live_process_is_a_503_and_its_restart_heals_it(pair: Pair, shop: Shop) -> None:
    session = shop.session()
    with pair.watch(session.session_id) as watcher:
        watcher.frame()
        pair.kill_live()
        assert watcher.close_code() == 1006

    assert refusal(pair, session.session_id) == (503, "temporarily_unavailable", "2")
    assert pair.is_healthy()

    pair.start_live()
    assert wait_until(lambda: has_place(pair, session.session_id), 10)
    with pair.watch(session.session_id) as watcher:
        watcher.frame()
        shop.bid(shop.bidder(), session, "150")
        assert prices(watcher.frame()) == [150]


def test_hanging_live_process_is_a_503_and_is_left_alone_for_a_while(
    pair: Pair, shop: Shop
) -> None:
    session = shop.session()
    pair.live.popen.send_signal(signal.SIGSTOP)
    try:
        assert refusal(pair, session.session_id)[0] == 503
        started_at = time.monotonic()
        for _ in range(3):
            assert refusal(pair, session.session_id)[0] == 503
        assert time.monotonic() - started_at < 1
    finally:
        pair.live.popen.send_signal(signal.SIGCONT)
    assert wait_until(lambda: has_place(pair, session.session_id), 10)


def test_stopping_live_process_says_goodbye_and_leaves_nothing(pair: Pair, shop: Shop) -> None:
    with pair.watch(shop.session().session_id) as watcher:
        watcher.frame()

        pair.live.terminate()

        assert watcher.close_code() == 1001
    assert pair.live.popen.wait(10) == 0
    assert not pair.socket.exists()


def test_second_live_process_does_not_push_the_first_out(pair: Pair, shop: Shop) -> None:
    second = subprocess.run(  # noqa: S603 - our own command
        ["/bin/sh", "-c", f"exec {pair.live.command}"],
        env=pair.live.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert second.returncode == 1
    assert str(pair.socket) in second.stderr
    assert has_place(pair, shop.session().session_id)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("missing/live.sock", "No such file or directory"),
        ("x" * 120, "too long"),
        ("folder", "there is something else"),
        ("file", "there is something else"),
    ],
)
def test_place_where_nobody_can_listen_is_told_in_a_sentence(
    pair: Pair, tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("somebody's own")
    done = subprocess.run(
        [sys.executable, "-m", "web.live"],
        cwd=PROJECT_ROOT,
        env={**pair.live.environ, "LIVE_SOCKET": str(tmp_path / place)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Cannot listen on LIVE_SOCKET, {tmp_path / place}: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "file").read_text() == "somebody's own"


def test_watcher_is_asked_to_come_again_while_the_board_cannot_be_read(
    pair: Pair, shop: Shop
) -> None:
    session = shop.session()
    without_redis = "__main__.os.environ.update(REDIS_HOST='127.0.0.1', REDIS_PORT='1')"
    with pair.impatient(without_redis), pair.watch(session.session_id) as watcher:
        assert watcher.close_code() == 1013
        assert "Try again" in watcher.socket.close_reason


def test_watcher_that_stops_reading_is_dropped_and_the_others_stay(pair: Pair, shop: Shop) -> None:
    session = shop.session()
    bidders = [shop.bidder() for _ in range(50)]
    for price, bidder in enumerate(bidders, start=100):
        shop.bid(bidder, session, str(price))
    with (
        pair.impatient("watcher.MAX_BEHIND_SECONDS = 1.0"),
        pair.watch(session.session_id) as good,
        raw_watch(pair.port, session.session_id) as slow,
    ):
        sent = 0
        for price in range(1000, 1024):
            shop.bid(bidders[0], session, str(price))
            frame = good.frame()
            sent += len(str(frame))

        slow.settimeout(5)
        assert read_to_the_end(slow) < sent / 2
        shop.bid(bidders[0], session, "2000")
        assert good.frame()["data"]["highest_bid"] == 2000


def test_dead_connection_is_noticed_and_gives_its_place_back(pair: Pair, shop: Shop) -> None:
    """It answers no ping; a browser does so by itself."""
    session = shop.session()
    quick_pings = "watcher._PING_INTERVAL_SECONDS = watcher._PING_TIMEOUT_SECONDS = 0.5"
    with pair.impatient(quick_pings), ExitStack() as opened:
        alive = opened.enter_context(pair.watch(session.session_id))
        alive.frame()
        for _ in range(MAX_WATCHERS - 1):
            opened.enter_context(raw_watch(pair.port, session.session_id))

        assert wait_until(lambda: has_place(pair, session.session_id), 10)

        alive.socket.send("ping")
        assert alive.socket.recv(timeout=10) == "pong"


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, (404, "not_found", None)),
        ({**UPGRADE, "Sec-WebSocket-Key": "short"}, (400, "malformed_json", None)),
        ({**UPGRADE, "Sec-WebSocket-Version": "12"}, (400, "malformed_json", None)),
        ({**UPGRADE, "Connection": "close"}, (400, "malformed_json", None)),
    ],
)
def test_what_is_no_good_handshake_is_refused_by_web(
    pair: Pair, shop: Shop, headers: dict[str, str], answer: tuple[int, str, str | None]
) -> None:
    assert refusal(pair, shop.session().session_id, headers) == answer
