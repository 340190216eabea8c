"""The bundled load generator against a real HTTP server."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from dev.bench.sockets import Generator, Plan, Tally


class Server(ThreadingHTTPServer):
    """Answers POSTs with the status it is told, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = status
        self.seen: list[tuple[str, dict[str, object]]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
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


def run(server: Server, folder: Path, rate: float | None) -> Tally:
    (folder / "tokens").write_text("one\ntwo\n")
    plan = Plan(
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
    generator = Generator(plan)
    try:
        return generator.run()
    finally:
        generator.close()


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


def test_a_refusal_is_no_success(tmp_path: Path) -> None:
    with serving(status=503) as server:
        tally = run(server, tmp_path, rate=50)
    assert tally.statuses == {"503": 15}
    assert tally.in_window == 0
