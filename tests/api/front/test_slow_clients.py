"""Slow clients, silent ones, and those that are there to do harm: they hold up nobody."""

import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread

import pytest

from core.bootstrap import Services
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from tests.support.http.raw import (
    HEALTH,
    LOGIN,
    OPENAPI,
    answer,
    ask,
    ask_once,
    bid,
    bid_head,
    connected,
    connected_with_little_room,
    look,
    read_to_end,
    token_of,
)
from tests.support.http.serving import changed, logging_to, serving
from tests.support.locks import wait_for_locks
from web.front.http import MAX_HEAD_BYTES, MAX_HEADERS, MAX_URL_BYTES

THREADS = 2
SLOW = THREADS * 4
MEMBERS = 40
EMPTY = b"Content-Length: 2\r\n\r\n{}"
BUNDLE = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
BUNDLE_BYTES = 1_000_000
UPGRADE = (
    b"GET /ws/%b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
IMPATIENT = changed(
    "http.REQUEST_ARRIVAL_SECONDS = connections.RESPONSE_READ_SECONDS = 1",
    "connections.MAX_IDLE_SECONDS = 1",
)
MAX_CONNECTIONS = 60
CROWDED = changed(f"server.max_connections = lambda: {MAX_CONNECTIONS}")
_REFUSAL = re.compile(rb"problem:(validation_failed|malformed_json)")


@pytest.fixture(scope="module")
def port(services: Services) -> Iterator[int]:
    with serving(BID_RATE_PER_SECOND="0", WEB_THREADS=str(THREADS)) as port:
        yield port


@pytest.fixture(scope="module")
def impatient_port(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    log = tmp_path_factory.mktemp("impatient") / "web.log"
    with logging_to(log, IMPATIENT, WEB_THREADS=str(THREADS)) as port:
        yield port
    assert "Traceback" not in log.read_text(), log.read_text()


# Slow senders


IN_PART = {
    "a byte": (b"P", LOGIN[1:] + EMPTY),
    "half a head": (LOGIN, EMPTY),
    "half a body": (LOGIN + b"Content-Length: 50\r\n\r\n{", b" " * 49),
    "no body": (LOGIN + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", b"{}"),
    "half a chunk": (LOGIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{", b"}\r\n0\r\n\r\n"),
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
        # With their threads in use, this would be refused, or wait for them to be given up.
        assert ask_once(port, OPENAPI)[0] == 200
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


LATE = {
    "half a head": LOGIN,
    "no body": LOGIN + b"Content-Length: 2\r\n\r\n",
    "half a body": LOGIN + b"Content-Length: 2\r\n\r\n{",
    "half a chunk": LOGIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{",
    "no body of a bid": bid_head("x", "Content-Length: 2"),
}


@pytest.mark.parametrize("kind", LATE)
def test_what_does_not_come_in_time_is_told_so(impatient_port: int, clean: None, kind: str) -> None:
    with connected(impatient_port) as connection:
        status, problem, _ = ask(connection, LATE[kind])
        assert (status, problem["code"]) == (408, "request_timeout")
        assert connection.recv(1) == b""


def test_what_turns_unreadable_while_its_refusal_waits_is_answered_once(
    impatient_port: int, clean: None
) -> None:
    """The first part of a body that is too long is refused with a delay."""
    with connected(impatient_port) as connection:
        connection.sendall(LOGIN + b"Transfer-Encoding: chunked\r\n\r\n11170\r\n")
        for part in (b"x" * 60_000, b"x" * 10_000, b"no end of a chunk"):
            connection.sendall(part)
            time.sleep(0.05)
        answers = read_to_end(connection)
        assert answers.count(b"HTTP/1.1 ") == 1, answers
        assert answers.startswith(b"HTTP/1.1 400 ")


def test_who_goes_away_before_the_answer_is_no_defect(impatient_port: int, shop: Shop) -> None:
    """The fixture reads the log."""
    with shop.services.engine.connect() as lock:
        lock.exec_driver_sql("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        with connected(impatient_port) as connection:
            connection.sendall(b"GET /api/sessions HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
            wait_for_locks(shop, 1)
            # Closed so, it is reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.1)
        lock.rollback()
    assert ask_once(impatient_port, OPENAPI)[0] == 200


def test_a_head_that_comes_byte_by_byte_for_ever_is_late_too(
    impatient_port: int, clean: None
) -> None:
    with connected(impatient_port) as connection:
        sender = Thread(target=drip, args=(connection,))
        sender.start()
        assert answer(connection)[1]["code"] == "request_timeout"
        connection.shutdown(socket.SHUT_RDWR)
        sender.join()


def drip(connection: socket.socket) -> None:
    """Send a head without an end, slowly."""
    with suppress(OSError):
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)


def test_what_waits_behind_another_request_is_not_late(impatient_port: int, shop: Shop) -> None:
    with connected(impatient_port) as connection, shop.services.engine.connect() as lock:
        lock.exec_driver_sql("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        connection.sendall(b"GET /api/sessions HTTP/1.1\r\nHost: x\r\n\r\n" + LOGIN)
        # Longer than a request has that does not wait.
        time.sleep(3)
        lock.rollback()
        assert answer(connection)[:2] == (200, [])
        assert ask(connection, EMPTY)[1]["code"] == "validation_failed"


@pytest.mark.parametrize("filler", [b"x", b"X: y\r\n"], ids=["a header", "headers"])
def test_a_head_without_an_end_is_refused(port: int, clean: None, filler: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nX-Filler: " + filler * (6 * MAX_HEAD_BYTES // len(filler))
    with connected(port) as connection:
        for place in range(0, len(head), 10_000):
            connection.sendall(head[place : place + 10_000])
        status, problem, _ = answer(connection)
        assert (status, problem["code"]) == (431, "bad_request")
        assert connection.recv(1) == b""


def test_the_refusal_of_a_head_reaches_who_still_sends(port: int, clean: None) -> None:
    with connected(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Filler: ")
        sender = Thread(target=send_all, args=(connection, b"x" * 20_000_000))
        sender.start()
        assert answer(connection)[0] == 431
        connection.shutdown(socket.SHUT_RDWR)
        sender.join()


def send_all(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        connection.sendall(data)


@pytest.mark.parametrize(("count", "status"), [(MAX_HEADERS, 200), (MAX_HEADERS + 1, 431)])
def test_the_bound_of_headers_is_exact(port: int, clean: None, count: int, status: int) -> None:
    head = b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * count + b"\r\n"
    assert ask_once(port, head)[0] == status


@pytest.mark.parametrize(("excess", "status"), [(0, 200), (1, 431)])
@pytest.mark.parametrize("filler", [b"x", b"a&", b"page=1&"])
def test_the_bound_of_an_address_is_exact(
    port: int, clean: None, filler: bytes, excess: int, status: int
) -> None:
    length = MAX_URL_BYTES + excess
    address = (b"/health?" + filler * MAX_URL_BYTES)[:length]
    assert ask_once(port, b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % address)[0] == status


@pytest.mark.parametrize(("excess", "status"), [(0, 200), (1, 431)])
def test_the_bound_of_a_head_is_exact(port: int, clean: None, excess: int, status: int) -> None:
    """Of its address, names and values, in one piece or in several."""
    room = MAX_HEAD_BYTES - len("/health") - len("A")
    head = b"GET /health HTTP/1.1\r\nA: %b\r\n\r\n" % (b"b" * (room + excess))
    assert ask_once(port, head)[0] == status


def test_a_client_that_hangs_up_in_mid_request_is_let_go(port: int, clean: None) -> None:
    for part in LATE.values():
        with connected(port) as connection:
            connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""


# Slow readers


def test_who_does_not_read_a_large_answer_holds_no_thread(port: int, clean: None) -> None:
    with ExitStack() as stack:
        deaf = [stack.enter_context(connected_with_little_room(port)) for _ in range(SLOW)]
        for connection in deaf:
            # More than the system keeps for a connection.
            connection.sendall(BUNDLE * 40)
        for _ in range(20):
            assert ask_once(port, OPENAPI)[0] == 200
        # It was kept for them, whole.
        received = b""
        while len(received) < BUNDLE_BYTES:
            chunk = deaf[0].recv(1_000_000)
            assert chunk
            received += chunk


def test_a_client_that_does_not_read_holds_up_nobody_and_gets_all_in_order(
    port: int, shop: Shop, member: CheckedClient
) -> None:
    session = shop.session()
    for number in range(MEMBERS):
        shop.bid(shop.bidder(), session, str(150 + number))
    looks = look(session.session_id) * 2000
    with connected(port) as deaf:
        deaf.setblocking(False)
        sent = deaf.send(looks)
        assert sent > 0
        assert ask_once(port, bid(session, token_of(member), 500))[1]["price"] == 500
        deaf.settimeout(20)
        counts = [
            answer(deaf)[1]["total_count"] for _ in range(sent // len(look(session.session_id)))
        ]
        assert counts == sorted(counts)


def test_a_reader_that_stops_in_mid_answer_is_dropped(impatient_port: int, clean: None) -> None:
    with connected_with_little_room(impatient_port) as deaf:
        deaf.sendall(BUNDLE * 40)
        assert deaf.recv(1000)
        # It hears of it when it reads on: what the system had kept for it, and no more.
        time.sleep(4)
        received = 0
        with suppress(ConnectionResetError):
            while chunk := deaf.recv(1_000_000):
                received += len(chunk)
        assert received < 40 * BUNDLE_BYTES
        assert ask_once(impatient_port, HEALTH)[0] == 200


def test_a_peer_that_does_not_close_holds_up_nobody(
    port: int, shop: Shop, member: CheckedClient
) -> None:
    request = bid(shop.session(), token_of(member), 150)
    closing_request = HEALTH.replace(b"Host: x", b"Host: x\r\nConnection: close")
    with ExitStack() as stack:
        peers = [stack.enter_context(connected(port)) for _ in range(30)]
        for peer in peers:
            peer.sendall(closing_request)
        assert {answer(peer)[0] for peer in peers} == {200}
        assert ask_once(port, request)[0] == 200
        assert [peer.recv(1) for peer in peers] == [b""] * len(peers)


# Too many of them


def test_an_idle_connection_ends_after_a_while(impatient_port: int, clean: None) -> None:
    with connected(impatient_port) as silent, connected(impatient_port) as asked:
        assert ask(asked, HEALTH)[0] == 200
        assert silent.recv(1) == asked.recv(1) == b""


def test_bids_go_on_beside_thousands_of_idle_connections(
    port: int, shop: Shop, member: CheckedClient
) -> None:
    session, token = shop.session(), token_of(member)
    with ExitStack() as stack, connected(port) as bidder:
        for _ in range(2000):
            stack.enter_context(connected(port))
        for price in range(150, 160):
            assert ask(bidder, bid(session, token, price))[0] == 200
        assert ask_once(port, bid(session, token, 170))[0] == 200


def test_beyond_the_bound_of_connections_idle_ones_are_closed(
    services: Services, tmp_path: Path, shop: Shop, member: CheckedClient
) -> None:
    session, token = shop.session(), token_of(member)
    with logging_to(tmp_path / "web.log", CROWDED) as port, ExitStack() as stack:
        kept = stack.enter_context(connected(port))
        assert ask(kept, bid(session, token, 150))[0] == 200
        idle = [stack.enter_context(connected(port)) for _ in range(MAX_CONNECTIONS + 10)]
        late = stack.enter_context(connected(port))
        status, problem, head = ask(late, bid(session, token, 160))
        assert (status, problem["code"]) == (503, "overloaded")
        assert b"retry-after: " in head
        # Whoever was there before goes on.
        assert ask(kept, bid(session, token, 160))[0] == 200
        assert [connection.recv(1) for connection in idle] == [b""] * len(idle)
        assert ask_once(port, bid(session, token, 170))[0] == 200


def test_a_websocket_that_sends_a_megabyte_is_closed(port: int, shop: Shop) -> None:
    session_id = str(shop.session().session_id).encode()
    with connected(port) as flooder:
        flooder.sendall(UPGRADE % session_id)
        assert flooder.recv(12) == b"HTTP/1.1 101"
        size = 1024 * 1024
        frame = b"\x81\xff" + size.to_bytes(8, "big") + b"\0\0\0\0" + b"x" * size
        sender = Thread(target=send_all, args=(flooder, frame))
        sender.start()
        assert ask_once(port, look(session_id.decode()))[0] == 200
        with suppress(ConnectionResetError):
            read_to_end(flooder)
        sender.join()
