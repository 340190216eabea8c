"""Slow clients, and those that pretend to be: over a real gunicorn, they hold up nobody."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from core.bootstrap import Services
from tests.api.conftest import CheckedClient
from tests.api.serving import logging_to, serving
from tests.api.test_flash_worker import answer, ask, bid, connected, token_of
from tests.factories import Shop
from web.arrival import MAX_SEEN_BYTES

THREADS = 2
SLOW = THREADS * 4
# Far more than a stop takes that waits for nobody.
GRACE_SECONDS = 60
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
LOGIN = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
EMPTY = b"Content-Length: 2\r\n\r\n{}"
BUNDLE_BYTES = 1_000_000
# The same worker, less patient than anybody would want it.
IMPATIENT = """
from gunicorn.app.wsgiapp import run
from web import patient_worker
patient_worker.ARRIVE_SECONDS = 0.5
run()
"""


@pytest.fixture(scope="module")
def port(services: Services) -> Iterator[int]:
    with serving(BID_RATE_PER_SECOND="0", WEB_THREADS=str(THREADS)) as port:
        yield port


_REFUSAL = re.compile(rb"problem:(validation_failed|malformed_json)")
IN_PART = {
    "a byte": (b"P", LOGIN[1:] + EMPTY),
    "half a head": (LOGIN, EMPTY),
    "half a body": (LOGIN + b"Content-Length: 50\r\n\r\n{", b" " * 49),
    "no body": (LOGIN + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", b"{}"),
    "half a chunk": (LOGIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{", b"}\r\n0\r\n\r\n"),
    # Its thread has read on.
    "half behind a whole": (HEALTH + LOGIN, EMPTY),
}


@pytest.mark.parametrize("kind", IN_PART)
def test_a_request_in_part_holds_no_thread_and_is_answered_when_it_is_whole(
    port: int, clean: None, kind: str
) -> None:
    part, rest = IN_PART[kind]
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(port)) for _ in range(SLOW)]
        for connection in slow:
            connection.sendall(part)
        other = stack.enter_context(connected(port))
        # With their threads in use, this would be refused, or wait for them to be given up.
        assert ask(other, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200
        assert ask(other, HEALTH)[1]["status"] == "healthy"
        for connection in slow:
            connection.sendall(rest)
            assert is_refused(connection)


def is_refused(connection: socket.socket) -> bool:
    """Whether the login that is none is answered so, whatever comes before."""
    received = b""
    while not _REFUSAL.search(received):
        chunk = connection.recv(10_000)
        if not chunk:
            return False
        received += chunk
    return True


def test_a_request_in_pieces_is_answered_like_any_other(
    port: int, shop: Shop, member: CheckedClient
) -> None:
    request = bid(shop.session(), token_of(member), 150)
    with connected(port) as connection:
        for place in range(0, len(request), 7):
            connection.sendall(request[place : place + 7])
        assert answer(connection)[1]["price"] == 150
        assert ask(connection, request)[1]["replayed"]


def test_who_keeps_the_body_back_is_asked_for_it(
    port: int, shop: Shop, member: CheckedClient
) -> None:
    head, _, body = bid(shop.session(), token_of(member), 150, "Expect: 100-continue").partition(
        b"\r\n\r\n"
    )
    with connected(port) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        received = b""
        while b"\r\n\r\n{" not in received:
            received += connection.recv(1000)
        assert b"HTTP/1.1 200 OK" in received


def test_a_peer_that_does_not_close_holds_up_nobody(
    port: int, shop: Shop, member: CheckedClient
) -> None:
    session, token = shop.session(), token_of(member)
    closing_request = HEALTH.replace(b"Host: x", b"Host: x\r\nConnection: close")
    with ExitStack() as stack:
        peers = [stack.enter_context(connected(port)) for _ in range(30)]
        for peer in peers:
            peer.sendall(closing_request)
        assert {answer(peer)[0] for peer in peers} == {200}
        # Two seconds for each of them would be longer than this client waits.
        assert ask(stack.enter_context(connected(port)), bid(session, token, 150))[0] == 200
        assert [peer.recv(1) for peer in peers] == [b""] * len(peers)


def test_a_request_in_pieces_that_is_refused_is_told_so(services: Services) -> None:
    head = b"POST /api/auth/logout HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    with serving(WEB_THREADS="1", MAX_QUEUE_WAIT_MS="1") as port, ExitStack() as stack:
        crowd = [stack.enter_context(connected(port)) for _ in range(50)]
        for connection in crowd:
            connection.sendall(head)
        # Answered behind them, so they have been looked at.
        assert ask(stack.enter_context(connected(port)), HEALTH)[0] == 200
        for connection in crowd:
            connection.sendall(b"{}")
        # However many are refused, all of them are answered.
        statuses = {answer(connection)[0] for connection in crowd}
        assert statuses <= {401, 503}
        assert 503 in statuses


def test_who_does_not_read_a_large_answer_holds_no_thread(port: int, clean: None) -> None:
    look = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as stack:
        deaf = [stack.enter_context(connected_with_little_room(port)) for _ in range(SLOW)]
        for connection in deaf:
            # More than the system keeps for a connection.
            connection.sendall(look * 40)
        other = stack.enter_context(connected(port))
        for _ in range(50):
            assert ask(other, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200
        # It was kept for them, whole.
        received = b""
        while len(received) < BUNDLE_BYTES:
            chunk = deaf[0].recv(1_000_000)
            assert chunk
            received += chunk


@contextmanager
def connected_with_little_room(port: int) -> Iterator[socket.socket]:
    """A connection that takes some kilobytes before it has to be read."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", port))
        yield connection


def test_a_head_without_an_end_is_refused(port: int, clean: None) -> None:
    with connected(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Filler: " + b"x" * MAX_SEEN_BYTES)
        status, problem, _ = answer(connection)
        assert (status, problem["code"]) == (431, "bad_request")


def test_what_does_not_come_in_time_is_told_so(tmp_path: Path, services: Services) -> None:
    with logging_to(tmp_path / "web.log", ("-c", IMPATIENT)) as port, connected(port) as connection:
        connection.sendall(LOGIN)
        status, problem, _ = answer(connection)
        assert (status, problem["code"]) == (408, "request_timeout")
        assert connection.recv(1) == b""


def test_a_stop_waits_for_no_silent_or_slow_client(tmp_path: Path, services: Services) -> None:
    gunicorn = ("-m", "gunicorn", "--graceful-timeout", str(GRACE_SECONDS))
    with ExitStack() as stack:
        with logging_to(tmp_path / "web.log", gunicorn) as port:
            connections = [stack.enter_context(connected(port)) for _ in range(3)]
            connections[1].sendall(LOGIN)
            assert ask(connections[2], HEALTH)[0] == 200
            stopped_at = time.monotonic()
        assert time.monotonic() - stopped_at < GRACE_SECONDS / 2


def test_a_client_that_hangs_up_in_mid_request_is_let_go(port: int, clean: None) -> None:
    with connected(port) as connection:
        connection.sendall(LOGIN)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
