"""The main loop's express lane, over a real gunicorn: right answers however requests come in."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from flask import Flask

from core import keys
from core.bootstrap import Services
from core.sessions import SessionView
from tests.api.conftest import CheckedClient
from tests.api.serving import serving
from tests.factories import Shop
from web import tokens

MEMBERS = 40
THREADS = 2
MAX_WAIT_MS = 2000
GUNICORN_READS_BYTES = 8192
# What differs between any two answers.
_DATE = re.compile(rb"\r\nDate: [^\r]*")
_CONNECTION = re.compile(rb"\r\nConnection: [^\r]*")


@pytest.fixture(scope="module")
def port(services: Services) -> Iterator[int]:
    with serving(
        BID_RATE_PER_SECOND="0", WEB_THREADS=str(THREADS), MAX_QUEUE_WAIT_MS=str(MAX_WAIT_MS)
    ) as port:
        yield port


@pytest.fixture
def connection(port: int, clean: None) -> Iterator[socket.socket]:
    with connected(port) as connection:
        yield connection


def connected(port: int) -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", port), timeout=20))


def token_of(member: CheckedClient) -> str:
    return str(member.environ_base["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")


def bid(session: SessionView, token: str, price: Any, *fields: str) -> bytes:
    return post(json.dumps({"session_id": str(session.session_id), "price": price}), token, *fields)


def post(body: str, token: str, *fields: str) -> bytes:
    head = (
        "POST /api/bid HTTP/1.1",
        "Host: x",
        "X-Request-ID: both-ways",
        "Content-Type: application/json",
        f"Authorization: Bearer {token}",
        f"Content-Length: {len(body.encode())}",
        *fields,
    )
    return "\r\n".join((*head, "", body)).encode()


def look(session_id: object, *fields: str) -> bytes:
    head = (f"GET /api/leaderboard/{session_id} HTTP/1.1", "Host: x", *fields)
    return "\r\n".join((*head, "", "")).encode()


def answer(connection: socket.socket) -> tuple[int, Any, bytes]:
    """Status, document and the whole head of the next answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, f"the connection ended after {head!r}"
        head += byte
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(head.split()[1]), json.loads(body), head


def ask(connection: socket.socket, request: bytes) -> tuple[int, Any, bytes]:
    connection.sendall(request)
    return answer(connection)


REFUSED = {
    "an unknown session": lambda token: post(json.dumps({"session_id": "x", "price": 1}), token),
    "no JSON": lambda token: post("{", token),
    "a bad token": lambda _: post("{}", "x.y.z"),
    "an unknown board": lambda _: look("0" * 36, "X-Request-ID: both-ways"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_the_lane_answers_as_gunicorn_does(
    port: int, connection: socket.socket, member: CheckedClient, kind: str
) -> None:
    request = REFUSED[kind](token_of(member))
    *lane, lane_head = ask(connection, request)
    with connected(port) as other:
        # A connection that is to be closed is not for the lane.
        closing_request = request.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
        *ordinary, ordinary_head = ask(other, closing_request)
    assert lane == ordinary
    assert b"\r\nConnection: keep-alive\r\n" in lane_head
    assert _DATE.search(lane_head)
    lane_head, ordinary_head = (
        _CONNECTION.sub(b"", _DATE.sub(b"", head)) for head in (lane_head, ordinary_head)
    )
    assert lane_head.split(b"\r\n") == ordinary_head.split(b"\r\n")


def test_requests_sent_together_are_answered_in_order(
    connection: socket.socket, shop: Shop, member: CheckedClient
) -> None:
    session, token = shop.session(), token_of(member)
    connection.sendall(
        bid(session, token, 150)
        + look(session.session_id)
        + bid(session, token, 160)
        + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        + bid(session, token, 170)
    )
    bodies = [answer(connection)[1] for _ in range(5)]
    assert [bodies[index]["price"] for index in (0, 2, 4)] == [150, 160, 170]
    assert (bodies[1]["highest_bid"], bodies[3]["status"]) == (150, "healthy")


def test_a_body_is_never_taken_for_a_request(connection: socket.socket, shop: Shop) -> None:
    """A thread reads so many bytes at a time; what it leaves looks like a request of the lane."""
    hidden = look(shop.session().session_id)
    before = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nX-Filler: %b\r\n\r\n"
    posted = b"POST /api/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(hidden)
    filler = b"x" * (GUNICORN_READS_BYTES - len(before) + len(b"%b") - len(posted))
    connection.sendall(before % filler + posted + hidden)
    assert [answer(connection)[0] for _ in range(2)] == [200, 404]
    assert ask(connection, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")[1]["status"] == "healthy"


def test_a_request_that_comes_in_pieces_is_answered(
    connection: socket.socket, shop: Shop, member: CheckedClient
) -> None:
    session = shop.session()
    request = bid(session, token_of(member), 150)
    for start, end in ((0, 20), (20, len(request) - 5), (len(request) - 5, None)):
        connection.sendall(request[start:end])
        time.sleep(0.1)
    assert answer(connection)[1]["price"] == 150
    assert ask(connection, bid(session, token_of(member), 160))[1]["price"] == 160


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 5",),
        ("Transfer-Encoding: chunked",),
        ("Bad Name: x",),
        ("X: a\x01b",),
        ("Content-Type: text/plain",),
    ],
)
def test_an_ambiguous_request_is_no_bid(
    port: int, connection: socket.socket, shop: Shop, member: CheckedClient, fields: tuple[str, ...]
) -> None:
    session = shop.session()
    connection.sendall(bid(session, token_of(member), 150, *fields))
    assert re.match(rb"HTTP/1\.1 4\d\d ", connection.recv(65536))
    with connected(port) as other:
        assert ask(other, look(session.session_id))[1]["total_count"] == 0


@pytest.fixture
def crowd(app: Flask, shop: Shop) -> list[str]:
    with app.app_context():
        return [tokens.issue(account)["token"] for account in shop.services.accounts.seed(MEMBERS)]


def test_a_crowd_shares_pipelines_and_everybody_gets_the_own_answer(
    port: int, shop: Shop, crowd: list[str]
) -> None:
    session = shop.session()
    redis = shop.services.redis
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(port)) for _ in crowd]
        for connection, token in zip(connections, crowd, strict=True):
            assert ask(connection, bid(session, token, 150))[0] == 200
        redis.config_resetstat()
        redis.client_pause(300, all=True)
        for number, (connection, token) in enumerate(zip(connections, crowd, strict=True)):
            # Alternately bids and looks.
            own = bid(session, token, 200 + number) if number % 2 else look(session.session_id)
            connection.sendall(own)
        bodies = [answer(connection)[1] for connection in connections]
    bids, boards = bodies[1::2], bodies[::2]
    assert [body["price"] for body in bids] == [200 + number for number in range(1, MEMBERS, 2)]
    assert len({body["sequence"] for body in bids}) == len(bids)
    assert {body["total_count"] for body in boards} == {MEMBERS}
    # Looks of one moment share one question.
    assert redis.info("commandstats")["cmdstat_hmget"]["calls"] < 4 * MEMBERS


def test_bids_go_on_while_one_waits_for_postgresql(
    port: int, connection: socket.socket, shop: Shop, crowd: list[str]
) -> None:
    session, unknown = shop.session(), shop.session()
    assert ask(connection, bid(session, crowd[0], 150))[0] == 200
    shop.services.redis.delete(keys.session_params(unknown.session_id))
    with connected(port) as stuck, shop.services.engine.connect() as lock:
        lock.exec_driver_sql("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        stuck.sendall(bid(unknown, crowd[1], 150))
        time.sleep(0.2)
        assert ask(connection, bid(session, crowd[0], 160))[1]["price"] == 160
        lock.rollback()
        assert answer(stuck)[1]["price"] == 150


@pytest.mark.parametrize("sessions", [1, THREADS + 1])
def test_a_bid_that_waits_too_long_for_another_or_a_thread_is_told(
    port: int, shop: Shop, crowd: list[str], sessions: int
) -> None:
    unknown = [unload(shop, shop.session()) for _ in range(sessions)]
    stuck = min(THREADS, sessions)
    with ExitStack() as stack, shop.services.engine.connect() as lock:
        connections = [stack.enter_context(connected(port)) for _ in range(THREADS + 1)]
        lock.exec_driver_sql("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        for number, connection in enumerate(connections):
            connection.sendall(bid(unknown[number % sessions], crowd[number], 150))
            time.sleep(0.1)
        problems = [answer(connection)[1]["code"] for connection in connections[stuck:]]
        assert set(problems) == {"temporarily_unavailable"}
        lock.rollback()
        assert [answer(connection)[0] for connection in connections[:stuck]] == [200] * stuck


def test_a_drain_that_cannot_be_enqueued_in_time_costs_no_answer(
    port: int, connection: socket.socket, shop: Shop, crowd: list[str]
) -> None:
    session = shop.session()
    assert ask(connection, bid(session, crowd[0], 150))[0] == 200
    with ExitStack() as stack, shop.services.engine.connect() as lock:
        unknown = [unload(shop, shop.session()) for _ in range(THREADS)]
        lock.exec_driver_sql("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        for other, token in zip(unknown, crowd, strict=False):
            stack.enter_context(connected(port)).sendall(bid(other, token, 150))
        time.sleep(0.2)
        # A drain is due again.
        shop.services.redis.hdel(keys.session_params(session.session_id), "drain_trusted_until")
        assert ask(connection, bid(session, crowd[0], 160))[1]["price"] == 160
        lock.rollback()


def unload(shop: Shop, session: SessionView) -> SessionView:
    """As if Redis had lost it."""
    shop.services.redis.delete(keys.session_params(session.session_id))
    return session


def test_others_are_served_while_redis_stands_still(
    port: int, connection: socket.socket, shop: Shop, crowd: list[str]
) -> None:
    session = shop.session()
    assert ask(connection, bid(session, crowd[0], 150))[0] == 200
    shop.services.redis.client_pause(1000, all=True)
    connection.sendall(bid(session, crowd[0], 160))
    with connected(port) as other:
        started = time.monotonic()
        assert ask(other, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200
        assert time.monotonic() - started < 1
    assert answer(connection)[1]["price"] == 160


def test_a_client_that_does_not_read_holds_up_nobody(
    port: int, connection: socket.socket, shop: Shop, crowd: list[str]
) -> None:
    session = shop.session()
    for number in range(MEMBERS):
        shop.bid(shop.bidder(), session, str(150 + number))
    looks = look(session.session_id) * 2000
    with connected(port) as deaf:
        deaf.setblocking(False)
        sent = deaf.send(looks)
        assert sent > 0
        time.sleep(0.5)
        assert ask(connection, bid(session, crowd[0], 500))[1]["price"] == 500
        deaf.settimeout(20)
        # All of its answers were kept for it, in order and whole.
        for _ in range(sent // len(look(session.session_id))):
            assert answer(deaf)[0] == 200
