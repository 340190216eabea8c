"""The bridge gives a whole answer, however the WSGI application made it."""

import asyncio
from collections.abc import Iterable
from math import inf
from threading import Event
from typing import Any

import pytest

from core.members.passwords import HASHES_AT_ONCE
from web.front.bridge import OPERATOR_THREADS, Bridge, call_wsgi
from web.http.requests import MAX_WHOLE_BYTES, RawResponse


def streaming(_environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one, "
    yield b"two"


def empty(_environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("204 NO CONTENT", [])
    return []


def test_a_streamed_answer_says_how_long_it_is() -> None:
    assert call_wsgi(streaming, {}) == RawResponse(
        200, b"content-type: text/plain\r\ncontent-length: 8\r\n", b"one, two"
    )


def test_an_answer_without_a_body_has_no_length() -> None:
    assert call_wsgi(empty, {}) == RawResponse(204, b"", b"")


def test_a_long_answer_is_not_gathered() -> None:
    def long(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(MAX_WHOLE_BYTES + 1))])
        return iter([b"x", b"y"])

    response = call_wsgi(long, {})
    assert response.body == b""
    assert list(response.pieces or ()) == [b"x", b"y"]


def scope(path: str) -> dict[str, Any]:
    return {
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "server": None,
        "client": None,
        "method": "GET",
        "http_version": "1.1",
        "scheme": "http",
        "headers": [],
    }


def test_a_balancer_is_answered_while_every_other_thread_hangs() -> None:
    """As they do on a server that neither answers nor dies."""
    may_end = Event()

    def hanging(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/ready":
            may_end.wait()
        return empty(environ, start_response)

    async def ask() -> int:
        bridge = Bridge(hanging, threads=1, max_wait_seconds=inf)
        paths = ["/health"] * (OPERATOR_THREADS + 1) + ["/api/sessions"] * 2
        others = [asyncio.create_task(bridge.respond(scope(path), b"")) for path in paths]
        await asyncio.sleep(0)
        status = (await bridge.respond(scope("/ready"), b"")).status
        assert not any(other.done() for other in others)
        may_end.set()
        await asyncio.gather(*others)
        bridge.close()
        return status

    assert asyncio.run(ask()) == 204


@pytest.mark.parametrize(
    ("path", "threads"),
    [
        ("/api/auth/login", "accounts"),
        ("/api/auth/register", "accounts"),
        ("/api/auth/login/", "accounts"),
        ("/api/auth/me", "flask"),
        ("/api/results/1", "flask"),
        ("/health", "operators"),
        ("/ready", "balancers"),
        ("/api/admin/stats", "operators"),
    ],
)
def test_hashes_and_operators_have_threads_of_their_own(path: str, threads: str) -> None:
    bridge = Bridge(lambda *_: [], threads=3, max_wait_seconds=1.0)
    queue = bridge._threads_for(path)
    assert queue._pool._thread_name_prefix == threads
    most = {"accounts": HASHES_AT_ONCE, "flask": 3, "operators": OPERATOR_THREADS, "balancers": 1}
    assert queue._pool._max_workers == most[threads]
    bridge.close()
