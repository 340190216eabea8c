"""What only a real server shows: how connections end, and what a client can still read."""

import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from core.bootstrap import Services
from tests.api.conftest import Log
from tests.support.http.serving import serving
from web.http.responses import COMMON_HEADERS

TOO_LARGE = 10 * 1024 * 1024
JSON_TYPE = {"Content-Type": "application/json"}
Connection = http.client.HTTPConnection
Body = bytes | Iterator[bytes] | None
MakeBody = Callable[[int], Body]


@pytest.fixture(scope="module")
def port(services: Services) -> Iterator[int]:
    with serving(HSTS_SECONDS="60") as port:
        yield port


@pytest.fixture
def connection(port: int, clean: None) -> Iterator[Connection]:
    with closing(Connection("127.0.0.1", port, timeout=20)) as connection:
        yield connection


def ask(
    connection: Connection,
    method: str,
    path: str,
    body: Body = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any, http.client.HTTPResponse]:
    """Status, body and the rest of an answer."""
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or "null"), answer


def still_good(connection: Connection) -> None:
    """The connection takes another request, or was closed in a way that clients understand."""
    status, body, _ = ask(connection, "GET", "/health")
    assert (status, body["status"]) == (200, "healthy")


def in_chunks(size: int) -> Iterator[bytes]:
    """A JSON body that does not say how long it is."""
    yield b'{"filler": "'
    for _ in range(size // 65536):
        yield b"x" * 65536
    yield b'"}'


def whole(size: int) -> bytes:
    return b"".join(in_chunks(size))


@pytest.mark.parametrize("make_body", [whole, in_chunks])
@pytest.mark.parametrize("path", ["/api/bid", "/api/auth/login"])
def test_refusal_of_a_body_that_is_far_too_large_can_be_read(
    connection: Connection, log_in: Log, make_body: MakeBody, path: str
) -> None:
    token = log_in("ada").environ_base["HTTP_AUTHORIZATION"]
    headers = {**JSON_TYPE, "Authorization": token}
    status, body, _ = ask(connection, "POST", path, make_body(TOO_LARGE), headers)
    assert (status, body["code"]) == (413, "body_too_large")
    still_good(connection)


@pytest.mark.parametrize("make_body", [whole, in_chunks])
def test_refusal_without_a_token_can_be_read_whatever_was_sent(
    connection: Connection, make_body: MakeBody
) -> None:
    status, body, _ = ask(connection, "POST", "/api/bid", make_body(TOO_LARGE), JSON_TYPE)
    assert (status, body["code"]) == (401, "token_missing")
    still_good(connection)


@pytest.mark.parametrize("make_body", [whole, in_chunks])
@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/api/nothing", "not_found"),
        ("PUT", "/api/bid", "method_not_allowed"),
        ("POST", "/api/auth/login", "unsupported_media_type"),
    ],
)
def test_other_refusals_of_a_large_body_can_be_read(
    connection: Connection, make_body: MakeBody, method: str, path: str, code: str
) -> None:
    _, body, _ = ask(connection, method, path, make_body(TOO_LARGE))
    assert body["code"] == code
    still_good(connection)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("size", "code"), [(4096, "invalid_credentials"), (4097, "body_too_large")]
)
def test_limit_of_a_body_is_exact_however_it_comes(
    connection: Connection, size: int, code: str, chunked: bool
) -> None:
    right = json.dumps({"username": "nobody", "password": "a good password"}).encode()
    body = right + b" " * (size - len(right))
    sent = iter([body[:1000], body[1000:]]) if chunked else body
    _, answer, _ = ask(connection, "POST", "/api/auth/login", sent, JSON_TYPE)
    assert answer["code"] == code
    still_good(connection)


@pytest.mark.parametrize("path", ["/api/auth/login", "/api/bid"])
def test_broken_chunks_are_refused_and_are_no_next_request(
    connection: Connection, path: str
) -> None:
    request = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    broken = 'Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n{"password":"hunter2"}\r\n\r\n'
    connection.connect()
    with closing(connection.sock) as raw:
        raw.sendall(f"{request}{broken}GET /docs HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    connection.close()
    assert b"bad_request" in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    still_good(connection)


def test_ignored_body_of_a_right_request_does_not_become_the_next_request(
    connection: Connection,
) -> None:
    smuggled = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n"
    status, _, _ = ask(connection, "GET", "/api/sessions", smuggled)
    assert status == 200
    still_good(connection)


def test_connection_is_kept_for_the_next_request(connection: Connection) -> None:
    still_good(connection)
    kept = connection.sock
    still_good(connection)
    assert connection.sock is kept


def test_server_does_not_tell_what_it_is_made_of(connection: Connection) -> None:
    _, _, answer = ask(connection, "GET", "/health")
    assert not any(letter.isdigit() for letter in answer.headers.get("Server", ""))


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/bid HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_the_server_lives(
    port: int, connection: Connection, request_text: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(request_text)
        answer = raw.recv(65536)
    assert re.match(rb"HTTP/1\.1 4\d\d ", answer) or answer == b""
    assert b"Traceback" not in answer
    still_good(connection)


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET /api/sessions?status=\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /api/sessions?status=a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer secret\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    ],
)
def test_refusal_of_what_cannot_be_read_is_like_all_others(
    port: int, request_text: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(request_text)
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        problem = json.loads(answer.read())
    assert (answer.status, problem["status"], problem["code"]) == (status, status, "bad_request")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert {name: answer.headers[name] for name in COMMON_HEADERS} == COMMON_HEADERS
    assert answer.headers["Strict-Transport-Security"] == "max-age=60"
    assert b"secret" not in json.dumps(problem).encode()
