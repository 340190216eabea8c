"""Requests as bytes on a connection, and answers as they come back."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient
from tests.support.http.client import scrape

TIMEOUT_SECONDS = 30
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
OPENAPI = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
# Without the end of the head.
LOGIN = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_DOOR = re.compile(r'^flashbid_bid_doors_total\{[^}]*door="(\w+)"[^}]*\} (\S+)$', re.MULTILINE)


def connected(port: int) -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS))


@contextmanager
def connected_with_little_room(port: int) -> Iterator[socket.socket]:
    """A connection that takes some kilobytes before it has to be read."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(("127.0.0.1", port))
        yield connection


def token_of(member: CheckedClient) -> str:
    return str(member.environ_base["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")


def bid(session: SessionView, token: str, price: Any, *fields: str) -> bytes:
    return post(body_of(session, price), token, *fields)


def body_of(session: SessionView, price: Any) -> str:
    return json.dumps({"session_id": str(session.session_id), "price": price})


def post(body: str, token: str, *fields: str, path: str = "/api/bid") -> bytes:
    head = bid_head(token, f"Content-Length: {len(body.encode())}", *fields, path=path)
    return head + body.encode()


def bid_head(token: str, *fields: str, path: str = "/api/bid") -> bytes:
    """The head of a bid whose framing is the caller's."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Authorization: Bearer {token}",
        *fields,
    )
    return "\r\n".join((*lines, "", "")).encode()


def chunks_of(*pieces: bytes, ending: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + ending


def look(session_id: object, *fields: str) -> bytes:
    head = (f"GET /api/leaderboard/{session_id} HTTP/1.1", "Host: x", *fields)
    return "\r\n".join((*head, "", "")).encode()


def read_head(connection: socket.socket) -> bytes:
    """Up to the empty line, and nothing of what follows."""
    head, end = b"", -1
    while end < 0:
        seen = head + connection.recv(65_536, socket.MSG_PEEK)
        assert seen != head, f"the connection ended after {head!r}"
        end = seen.find(b"\r\n\r\n")
        head += connection.recv((len(seen) if end < 0 else end + 4) - len(head))
    return head


def answer(connection: socket.socket) -> tuple[int, Any, bytes]:
    """Status, document and the whole head of the next answer."""
    head = read_head(connection)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        chunk = connection.recv(length - len(body))
        assert chunk, f"the connection ended within {body!r}"
        body += chunk
    return int(head.split()[1]), json.loads(body), head


def ask(connection: socket.socket, request: bytes) -> tuple[int, Any, bytes]:
    connection.sendall(request)
    return answer(connection)


def ask_once(port: int, request: bytes) -> tuple[int, Any, bytes]:
    """An answer over a connection of its own."""
    with connected(port) as connection:
        return ask(connection, request)


def read_to_end(connection: socket.socket) -> bytes:
    """Everything up to the server's end of the connection."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def bids_by_door(port: int) -> dict[str, float]:
    """How many bids came which way, as the server has published."""
    doors = {"lane": 0.0, "flask": 0.0}
    for door, count in _DOOR.findall(scrape(port)):
        doors[door] += float(count)
    return doors
