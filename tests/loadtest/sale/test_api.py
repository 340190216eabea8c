"""The simple client: how it reads results of many pages."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from loadtest.sale import api
from loadtest.sale.api import Api, Refused


class Pages(BaseHTTPRequestHandler):
    """Three pages of results; every other request is refused for a while."""

    code = "rate_limited"
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        page = int(parse_qs(urlsplit(self.path).query)["page"][0])
        is_refused = self.requests % 2 == 0
        document = {"total_pages": 3, "rankings": [page], "winners": []}
        body = json.dumps({"code": self.code} if is_refused else document).encode()
        self.send_response(429 if is_refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(code: str) -> Iterator[Api]:
    handler = type("Handler", (Pages,), {"code": code})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Api(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_pages_that_a_limit_refuses_are_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LIMITED_SECONDS", 0.0)
    with serving("rate_limited") as client:
        assert client.results("a-session")["rankings"] == [1, 2, 3]


def test_any_other_refusal_is_final() -> None:
    with serving("results_pending") as client, pytest.raises(Refused):
        client.results("a-session")
