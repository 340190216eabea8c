"""What is no request, or two: never a bid, and never the answer to one."""

import socket
from collections.abc import Iterator

import pytest

from core.bootstrap import Services
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from tests.support.http.raw import (
    HEALTH,
    answer,
    ask,
    ask_once,
    bid,
    bid_head,
    body_of,
    chunks_of,
    connected,
    look,
    read_to_end,
    token_of,
)
from tests.support.http.serving import serving


@pytest.fixture(scope="module")
def port(services: Services) -> Iterator[int]:
    with serving(BID_RATE_PER_SECOND="0") as port:
        yield port


@pytest.fixture
def connection(port: int, clean: None) -> Iterator[socket.socket]:
    with connected(port) as connection:
        yield connection


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_never_taken_for_a_request(
    connection: socket.socket, shop: Shop, chunked: bool
) -> None:
    hidden = look(shop.session().session_id)
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(hidden)
    body = chunks_of(hidden) if chunked else hidden
    connection.sendall(b"POST /api/nothing HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n%b" % (framing, body))
    assert answer(connection)[0] == 404
    assert ask(connection, HEALTH)[1]["status"] == "healthy"


AMBIGUOUS = {
    "a length and chunks": ("Content-Length: {length}", "Transfer-Encoding: chunked"),
    "chunks and a length": ("Transfer-Encoding: chunked", "Content-Length: {length}"),
    "two lengths": ("Content-Length: {length}", "Content-Length: 5"),
    "two lengths in one": ("Content-Length: {length}, 5",),
    "twice the same length": ("Content-Length: {length}", "Content-Length: {length}"),
    "a length with a sign": ("Content-Length: +{length}",),
    "a length with a space before": ("Content-Length : {length}",),
    "a length that is none": ("Content-Length: 0x5",),
    "chunks that are not the last": ("Transfer-Encoding: chunked, identity",),
    "chunks by another name": ("Transfer-Encoding: xchunked", "Content-Length: {length}"),
    "a folded line": ("Content-Length: {length}", "X-Long: a\r\n b"),
    "a folded length": ("X-Long: a\r\n Content-Length: 5", "Content-Length: {length}"),
    "a bare line feed": ("Content-Length: {length}\nX-Next: a",),
    "a bare return": ("Content-Length: {length}\rX-Next: a",),
    "a name with a space": ("Content-Length: {length}", "Bad Name: x"),
    "a name with a control": ("Content-Length: {length}", "Bad\x01Name: x"),
    "a control": ("Content-Length: {length}", "X: a\x01b"),
    "a zero": ("Content-Length: {length}", "X: a\0b"),
    "no colon": ("Content-Length: {length}", "Nothing"),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_an_ambiguous_request_is_no_bid_and_the_connection_ends(
    port: int, connection: socket.socket, shop: Shop, member: CheckedClient, kind: str
) -> None:
    session = shop.session()
    body = body_of(session, 150)
    fields = [field.format(length=len(body)) for field in AMBIGUOUS[kind]]
    connection.sendall(bid_head(token_of(member), *fields) + body.encode() + HEALTH)
    answers = read_to_end(connection)
    assert answers.count(b"HTTP/1.1 ") == 1, answers
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert ask_once(port, look(session.session_id))[1]["total_count"] == 0


def test_what_comes_before_the_unreadable_is_answered_as_ever(
    connection: socket.socket, shop: Shop, member: CheckedClient
) -> None:
    """Its answer must not be taken for the answer to a bid that was accepted."""
    connection.sendall(bid(shop.session(), token_of(member), 150) + b"GARBAGE\r\n\r\n")
    assert answer(connection)[1]["price"] == 150
    assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")


def test_an_underscore_is_no_dash(connection: socket.socket) -> None:
    """Proxies let `X_Forwarded_For` pass, and CGI's names cannot tell it from the other."""
    ask_as = b"GET /api/sessions/active HTTP/1.1\r\nHost: x\r\n%b: mine\r\n\r\n"
    heads = {
        name: ask(connection, ask_as % name)[2].lower()
        for name in (b"X_Request_ID", b"X-Request-ID")
    }
    is_kept = {name: b"x-request-id: mine" in head for name, head in heads.items()}
    assert is_kept == {b"X_Request_ID": False, b"X-Request-ID": True}


def test_an_offer_of_another_protocol_is_not_taken(connection: socket.socket, shop: Shop) -> None:
    session = shop.session()
    offer = ("Connection: Upgrade", "Upgrade: something")
    assert ask(connection, look(session.session_id, *offer))[1]["total_count"] == 0
    assert connection.recv(1) == b""


def test_a_bid_with_an_offer_to_speak_http2_is_taken(
    connection: socket.socket, shop: Shop, member: CheckedClient
) -> None:
    """As Java's client makes it by default."""
    session = shop.session()
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
    for price in (120, 130):
        status, placed, _ = ask(connection, bid(session, token_of(member), price, *offer))
        assert (status, placed["price"]) == (200, price)


def test_a_websocket_behind_a_request_is_refused(connection: socket.socket) -> None:
    upgrade = (
        b"GET /ws/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    connection.sendall(HEALTH + upgrade)
    assert answer(connection)[1]["status"] == "healthy"
    assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")
