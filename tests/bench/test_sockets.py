"""The load generators against a real HTTP server."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep

import pytest

from dev.bench.generators import generators, sockets
from dev.bench.generators.sockets import Generator, Plan, Tally

GENERATORS = [generators.Sockets(1), *([generators.Wrk()] if generators.Wrk.is_installed() else [])]


class Server(ThreadingHTTPServer):
    """Answers POSTs with the status it is told, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = status
        self.seen: list[tuple[str, dict[str, object]]] = []
        self.headers: set[tuple[str, str]] = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    delay_seconds = 0.0

    def do_POST(self) -> None:
        sleep(self.delay_seconds)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.headers.update(self.headers.items())
        self.server.seen.append((self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(status: int = 200) -> Iterator[Server]:
    server = Server(status)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def plan_from_options(server: Server, folder: Path, rate: float | None = None) -> Plan:
    (folder / "tokens").write_text("one\ntwo\n")
    return Plan(
        host="127.0.0.1",
        port=server.server_address[1],
        method="POST",
        path="/bid",
        connections=2,
        seconds=0.3,
        rate=rate,
        tokens_path=str(folder / "tokens"),
        session_ids=("s",),
        first_cents=1000,
    )


def run(server: Server, folder: Path, rate: float | None) -> Tally:
    return asyncio.run(Generator(plan_from_options(server, folder, rate)).run())


def test_every_answer_is_counted_and_no_price_is_sent_twice(tmp_path: Path) -> None:
    with serving() as server:
        tally = run(server, tmp_path, rate=None)
    assert tally.broken == 0
    assert tally.statuses == {"200": len(server.seen)}
    assert max(Counter(body["price"] for _, body in server.seen).values()) == 1
    assert {token for token, _ in server.seen} == {"Bearer one", "Bearer two"}


def test_a_fixed_rate_is_kept_and_each_request_has_its_latency(tmp_path: Path) -> None:
    with serving() as server:
        tally = run(server, tmp_path, rate=100)
    assert tally.statuses == {"200": 30}
    assert len(tally.latencies_ms) == 30


@pytest.mark.parametrize("generator", GENERATORS)
def test_headers_are_sent_beside_those_that_a_bid_needs(
    generator: generators.Generator, tmp_path: Path
) -> None:
    with serving() as server:
        plan = replace(plan_from_options(server, tmp_path), headers=("X-One: 1", "X-Two: a, b"))
        load = generators.run(generator, plan)
    assert load.answered == len(server.seen) > 0
    assert {("X-One", "1"), ("X-Two", "a, b")} < server.headers
    needed = {"Host", "Authorization", "Content-Type", "Content-Length"}
    assert {name for name, _ in server.headers} == {*needed, "X-One", "X-Two"}


def test_a_refusal_is_no_success(tmp_path: Path) -> None:
    with serving(status=503) as server:
        tally = run(server, tmp_path, rate=50)
    assert tally.statuses == {"503": 15}
    assert tally.in_window == 0


def test_a_server_that_is_too_slow_for_the_rate_loses_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LATE_SECONDS", 0.2)
    monkeypatch.setattr(Handler, "delay_seconds", 0.05)
    with serving() as server:
        tally = run(server, tmp_path, rate=10_000)
    assert tally.broken == 0
    assert tally.statuses == {"200": len(server.seen)}
