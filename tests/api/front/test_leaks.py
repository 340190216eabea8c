"""No log holds what a server quotes of a request, and the search for it can find something."""

import socket
from pathlib import Path

import pytest

from core.bootstrap import Services
from tests.support.forked import GUNICORN
from tests.support.http.serving import logging_to
from tests.support.leaks import PATTERNS, leaks_in

# The whole server, but it quotes what it reads, as others do, and hides nothing.
HIDE_NOTHING = """
import logging
from core.telemetry import logs
from gunicorn.app.wsgiapp import run
from web.front.server import HttpProtocol
def quote(self, data, take=HttpProtocol.data_received):
    logging.getLogger("uvicorn.error").warning("Invalid request from %r", data)
    take(self, data)
HttpProtocol.data_received = quote
logs._hide_quotation = logs._hide_secrets = lambda logger, method, event: event
run()
"""
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl"
BODY = '{"username":"bob","password":"hunter2"}'
UNREADABLE = [
    # What follows a body that is longer than it says is read as the next request.
    f"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}{BODY}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization {TOKEN}\r\n\r\n",
    "GET redis://bob:hunter2@shop.example/ x\r\n\r\n",
    "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA\r\n\r\n",
]


def log_of(log: Path, program: str, words: str, **settings: str) -> str:
    """What a server says that was sent secrets where it might quote them, each in these words."""
    with logging_to(log, program, **settings) as port:
        for request in UNREADABLE:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(request.encode())
                while connection.recv(65_536):
                    pass
    text = log.read_text()
    assert text.count(words) == len(UNREADABLE), text
    return text


@pytest.mark.parametrize("debug", ["false", "true"])
def test_what_a_server_cannot_read_is_in_no_log(
    services: Services, tmp_path: Path, debug: str
) -> None:
    assert leaks_in(log_of(tmp_path / "log", GUNICORN, "request_unreadable", DEBUG=debug)) == set()


def test_control_without_masking_every_kind_of_secret_is_found(
    services: Services, tmp_path: Path
) -> None:
    assert (
        leaks_in(log_of(tmp_path / "log", HIDE_NOTHING, "Invalid request from")) == PATTERNS.keys()
    )
