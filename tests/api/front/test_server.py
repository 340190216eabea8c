"""The server itself, from outside: right answers however requests come in."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from select import select

import pytest
from flask import Flask

from core.bootstrap import Services
from core.redis import keys
from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from tests.support.http.raw import (
    HEALTH,
    OPENAPI,
    answer,
    ask,
    ask_once,
    bid,
    bid_head,
    bids_by_door,
    body_of,
    chunks_of,
    connected,
    look,
    post,
    read_head,
    token_of,
)
from tests.support.http.serving import serving
from tests.support.locks import wait_for_locks
from web.guards import tokens
from web.http.body import MAX_BODY_BYTES

MEMBERS = 40
THREADS = 2
MAX_WAIT_MS = 2000
# Less than a bid waits for its reply, and far more than others take.
PAUSE_MS = 4000
PATIENCE_SECONDS = 30


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


@pytest.fixture
def crowd(app: Flask, shop: Shop) -> list[str]:
    with app.app_context():
        return [tokens.issue(account)["token"] for account in shop.services.accounts.seed(MEMBERS)]


# How a bid may come: the lane takes every one.


SHAPES = {
    "plain": lambda token, body: post(body, token),
    "HTTP/1.0": lambda token, body: post(body, token).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "Connection: close": lambda token, body: post(body, token, "Connection: close"),
    "Connection: keep-alive": lambda token, body: post(body, token, "Connection: keep-alive"),
    "length first": lambda token, body: (
        f"POST /api/bid HTTP/1.1\r\nContent-Length: {len(body)}\r\nAuthorization: Bearer {token}"
        f"\r\nContent-Type: application/json\r\nHost: x\r\n\r\n{body}"
    ).encode(),
    "names in capitals": lambda token, body: (
        f"POST /api/bid HTTP/1.1\r\nHOST: x\r\nAUTHORIZATION: bearer {token}\r\n"
        "CONTENT-TYPE: application/json; charset=utf-8\r\n"
        f"CONTENT-LENGTH: {len(body)}\r\n\r\n{body}"
    ).encode(),
    "no spaces": lambda token, body: (
        f"POST /api/bid HTTP/1.1\r\nHost:x\r\nAuthorization:Bearer {token}\r\n"
        f"Content-Type:application/json\r\nContent-Length:{len(body)}\r\n\r\n{body}"
    ).encode(),
    "one chunk": lambda token, body: (
        bid_head(token, "Transfer-Encoding: chunked") + chunks_of(body.encode())
    ),
    "a chunk a byte": lambda token, body: (
        bid_head(token, "Transfer-Encoding: chunked")
        + chunks_of(*[b"%c" % c for c in body.encode()])
    ),
    "extended chunks": lambda token, body: (
        bid_head(token, "Transfer-Encoding: chunked")
        + b"%X;name=value\r\n%b\r\n0\r\n\r\n" % (len(body), body.encode())
    ),
    "a trailer": lambda token, body: (
        bid_head(token, "Transfer-Encoding: Chunked", "Trailer: X-Sum")
        + chunks_of(body.encode(), ending=b"0\r\nX-Sum: 1\r\n\r\n")
    ),
    "an absolute address": lambda token, body: post(body, token).replace(
        b"POST /api/bid", b"POST http://x/api/bid"
    ),
    "a query": lambda token, body: post(body, token, path="/api/bid?a=b"),
    "an escaped address": lambda token, body: post(body, token, path="/api/%62id"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bid_of_every_shape_is_answered(
    connection: socket.socket, shop: Shop, member: CheckedClient, shape: str
) -> None:
    request = SHAPES[shape](token_of(member), body_of(shop.session(), 150))
    status, document, head = ask(connection, request)
    assert (status, document["price"]) == (200, 150)
    stays = b"\r\nconnection: close\r\n" not in head
    if stays:
        assert ask(connection, HEALTH)[0] == 200
    else:
        assert connection.recv(1) == b""
    assert stays is (shape not in {"HTTP/1.0", "Connection: close"})


def test_all_shapes_take_the_lane_and_a_slash_behind_them_leads_to_flask(
    shop: Shop, member: CheckedClient, tmp_path: Path
) -> None:
    body, token = body_of(shop.session(), 150), token_of(member)
    requests = [shape(token, body) for shape in SHAPES.values()]
    requests.append(post(body, token, path="/api/bid/"))
    with serving(BID_RATE_PER_SECOND="0", METRICS_FOLDER=str(tmp_path)) as port:
        assert {ask_once(port, request)[0] for request in requests} == {200}
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while sum((doors := bids_by_door(port)).values()) < len(requests):
            assert time.monotonic() < give_up_at, doors
            time.sleep(0.1)
    assert doors == {"lane": len(SHAPES), "flask": 1}


@pytest.mark.parametrize("size", [1, 7])
def test_a_request_in_pieces_is_answered_like_any_other(
    connection: socket.socket, shop: Shop, member: CheckedClient, size: int
) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = bid(shop.session(), token_of(member), 150)
    for place in range(0, len(request), size):
        connection.sendall(request[place : place + size])
    assert answer(connection)[1]["price"] == 150
    assert ask(connection, request)[1]["replayed"]


def test_who_keeps_the_body_back_is_asked_for_it(
    connection: socket.socket, shop: Shop, member: CheckedClient
) -> None:
    request = bid(shop.session(), token_of(member), 150, "Expect: 100-continue")
    head, _, body = request.partition(b"\r\n\r\n")
    connection.sendall(head + b"\r\n\r\n")
    assert read_head(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert ask(connection, body)[1]["price"] == 150
    assert ask(connection, HEALTH)[0] == 200


def test_who_speaks_an_older_http_is_not_asked(
    connection: socket.socket, shop: Shop, member: CheckedClient
) -> None:
    request = bid(shop.session(), token_of(member), 150, "Expect: 100-continue")
    assert ask(connection, request.replace(b"HTTP/1.1", b"HTTP/1.0"))[0] == 200


# Several requests on one connection.


def test_requests_sent_together_are_answered_in_order(
    connection: socket.socket, shop: Shop, member: CheckedClient
) -> None:
    session, token = shop.session(), token_of(member)
    connection.sendall(
        bid(session, token, 150)
        + look(session.session_id)
        + bid(session, token, 160)
        + HEALTH
        + bid(session, token, 170)
    )
    bodies = [answer(connection)[1] for _ in range(5)]
    assert [bodies[index]["price"] for index in (0, 2, 4)] == [150, 160, 170]
    assert (bodies[1]["highest_bid"], bodies[3]["status"]) == (150, "healthy")


def test_many_requests_sent_together_are_answered_in_order(
    connection: socket.socket, shop: Shop, member: CheckedClient
) -> None:
    """More than the server reads at a time, so that some are cut in the middle."""
    session, token = shop.session(), token_of(member)
    filler = "X-Filler: " + "x" * 4000
    connection.sendall(b"".join(bid(session, token, 150 + n, filler) for n in range(200)))
    assert [answer(connection)[1]["price"] for _ in range(200)] == [150 + n for n in range(200)]


def test_a_head_cut_behind_a_long_body_is_no_long_head(
    connection: socket.socket, shop: Shop, member: CheckedClient
) -> None:
    first = post(" " * MAX_BODY_BYTES, token_of(member), path="/api/admin/products")
    connection.sendall(first + HEALTH[:-1])
    assert answer(connection)[1]["code"] == "admin_required"
    assert ask(connection, HEALTH[-1:])[1]["status"] == "healthy"


def test_a_crowd_shares_calls_and_everybody_gets_the_own_answer(
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
    # Bids of one moment share a call, looks of one moment a question.
    calls = redis.info("commandstats")
    assert calls["cmdstat_evalsha"]["calls"] < MEMBERS / 2
    assert calls["cmdstat_hmget"]["calls"] < 4 * MEMBERS


# What waits holds up nobody.


def test_bids_go_on_while_one_waits_for_postgresql(
    port: int, connection: socket.socket, shop: Shop, crowd: list[str]
) -> None:
    session, unknown = shop.session(), shop.session()
    assert ask(connection, bid(session, crowd[0], 150))[0] == 200
    unload(shop, unknown)
    with connected(port) as stuck, shop.services.engine.connect() as lock:
        lock.exec_driver_sql("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        stuck.sendall(bid(unknown, crowd[1], 150))
        wait_for_locks(shop, 1)
        assert ask(connection, bid(session, crowd[0], 160))[1]["price"] == 160
        lock.rollback()
        assert answer(stuck)[1]["price"] == 150


def test_a_bid_that_waits_too_long_for_its_session_is_told(
    port: int, shop: Shop, crowd: list[str]
) -> None:
    unknown = unload(shop, shop.session())
    with ExitStack() as stack, shop.services.engine.connect() as lock:
        connections = [stack.enter_context(connected(port)) for _ in range(THREADS + 1)]
        lock.exec_driver_sql("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        for connection, token in zip(connections, crowd, strict=False):
            connection.sendall(bid(unknown, token, 150))
        problems = [answer(connection)[1]["code"] for connection in connections]
        assert set(problems) == {"temporarily_unavailable"}
        lock.rollback()
        assert ask(connections[0], bid(unknown, crowd[0], 150))[0] == 200


def unload(shop: Shop, session: SessionView) -> SessionView:
    """As if Redis had lost it."""
    shop.services.redis.delete(keys.session_params(session.session_id))
    return session


def test_others_are_served_while_redis_stands_still(
    port: int, connection: socket.socket, shop: Shop, crowd: list[str]
) -> None:
    session = shop.session()
    assert ask(connection, bid(session, crowd[0], 150))[0] == 200
    shop.services.redis.client_pause(PAUSE_MS, all=True)
    connection.sendall(bid(session, crowd[0], 160))
    assert ask_once(port, OPENAPI)[0] == 200
    is_answered, _, _ = select([connection], [], [], 0)
    assert not is_answered
    assert answer(connection)[1]["price"] == 160


# What an answer may look like.


def test_the_answer_to_a_head_request_has_no_body(connection: socket.socket) -> None:
    for path in (b"/health", b"/openapi.json", b"/api/nothing"):
        connection.sendall(b"HEAD %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        assert int(re.search(rb"content-length: (\d+)", read_head(connection))[1]) > 0
    assert ask(connection, HEALTH)[1]["status"] == "healthy"


def test_answers_without_a_body_are_framed(
    connection: socket.socket, member: CheckedClient
) -> None:
    connection.sendall(
        f"POST /api/auth/logout HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token_of(member)}\r\n"
        "Content-Length: 0\r\n\r\n".encode()
    )
    head = read_head(connection)
    assert head.startswith(b"HTTP/1.1 204 ")
    assert b"transfer-encoding" not in head
    assert ask(connection, HEALTH)[1]["status"] == "healthy"


def test_who_says_nothing_more_is_answered(
    connection: socket.socket, shop: Shop, member: CheckedClient
) -> None:
    """A client may end its side when it has asked, and still be there to read."""
    connection.sendall(bid(shop.session(), token_of(member), 150))
    connection.shutdown(socket.SHUT_WR)
    assert answer(connection)[1]["price"] == 150
    assert connection.recv(1) == b""
