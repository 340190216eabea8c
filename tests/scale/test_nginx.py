"""The proxies' configurations in deploy/ before web processes, with Debian's nginx and HAProxy."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

import psutil
import pytest
from flask import Flask

from core.config import PROJECT_ROOT
from core.sessions.sessions import SessionView
from dev.children import free_port, spawn, stop
from dev.embedded.server import wait_until
from tests.support.factories import Shop
from tests.support.http.client import scrape
from tests.support.http.serving import serving
from tests.support.http.watching import prices, watch
from web.guards import tokens

NGINX = which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
HAPROXY = which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
SHIPPED = {
    name: (PROJECT_ROOT / "deploy" / name).read_text()
    for name in ("nginx.conf", "nginx-site.conf", "haproxy.cfg")
}
# A host's own nginx, which includes its sites.
AROUND_A_SITE = """
error_log stderr warn;
pid /run/nginx.pid;
events {}
http {
%s
}
"""
# As it comes: HTTP/1.0 and a connection for each request.
PLAIN = """
error_log stderr warn;
pid /run/nginx.pid;
events {}
http {
    access_log off;
    upstream web { server web:8000; }
    server {
        listen 80;
        location / { proxy_pass http://web; }
    }
}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
TIMEOUT_SECONDS = 20
WRONG_LOGIN = {"username": "nobody", "password": "a wrong password"}


class Groups(NamedTuple):
    """Ports of the two groups of web processes."""

    web: int
    watch: int


@pytest.fixture(scope="module")
def groups(services: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Groups]:
    settings = {"TRUSTED_PROXIES": "1", "LOGINS_PER_MINUTE": "2", "TRIES_PER_MINUTE": "0"}
    folder = tmp_path_factory.mktemp("metrics")
    with (
        serving(**settings, METRICS_FOLDER=f"{folder}/web") as web,
        serving(**settings, METRICS_FOLDER=f"{folder}/watch") as watchers,
    ):
        yield Groups(web, watchers)


@contextmanager
def proxy(name: str, folder: Path, groups: Groups) -> Iterator[int]:
    """Run what is shipped under this name; the context's value is its port."""
    if name == "haproxy.cfg":
        with haproxy(SHIPPED[name], folder, groups) as port:
            yield port
    else:
        text = SHIPPED[name] if name == "nginx.conf" else AROUND_A_SITE % SHIPPED[name]
        with nginx(text, folder, groups) as port:
            yield port


def with_servers(text: str, groups: Groups) -> str:
    for name, port in {"watch": groups.watch, "web": groups.web, "127.0.0.1": groups.web}.items():
        text = text.replace(f"{name}:8000", f"127.0.0.1:{port}")
    return text


@contextmanager
def haproxy(text: str, folder: Path, groups: Groups) -> Iterator[int]:
    """Run HAProxy with this file; the context's value is its port."""
    assert HAPROXY, "HAProxy is not installed. On Debian: apt-get install haproxy"
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(with_servers(text, groups).replace("bind :80\n", f"bind 127.0.0.1:{port}\n"))
    with running([HAPROXY, "-db", "-f", str(config)], folder, port):
        yield port


@contextmanager
def nginx(text: str, folder: Path, groups: Groups) -> Iterator[int]:
    """Run nginx with this file; the context's value is its port."""
    assert NGINX, "nginx is not installed. On Debian: apt-get install nginx-light"
    port = free_port()
    text = re.sub(r"listen 80\b", f"listen 127.0.0.1:{port}", with_servers(text, groups))
    text = re.sub(r"pid .*;", f"pid {folder}/nginx.pid;", text)
    temporary = "".join(f"    {name}_temp_path {folder}/{name};\n" for name in TEMPORARY)
    config = folder / "nginx.conf"
    config.write_text(text.replace("http {\n", f"http {{\n{temporary}", 1))
    command = [NGINX, "-p", str(folder), "-c", str(config), "-g", "daemon off;"]
    with running(command, folder, port):
        yield port


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    path = folder / "proxy.log"
    with path.open("wb") as log:
        process = spawn(command, os.environ, log)
    try:
        assert wait_until(lambda: answers(port), TIMEOUT_SECONDS), path.read_text()
        yield
    finally:
        stop(process, TIMEOUT_SECONDS)


def answers(port: int) -> bool:
    try:
        return call(port, "GET", "/api/sessions")[0] == 200
    except OSError:
        return False


@pytest.fixture(params=[*SHIPPED, "plain"])
def any_proxy(request: pytest.FixtureRequest, tmp_path: Path, groups: Groups) -> Iterator[int]:
    with (
        nginx(PLAIN, tmp_path, groups)
        if request.param == "plain"
        else proxy(request.param, tmp_path, groups)
    ) as port:
        yield port


@pytest.fixture(params=list(SHIPPED))
def shipped(request: pytest.FixtureRequest, tmp_path: Path, groups: Groups) -> Iterator[int]:
    with proxy(request.param, tmp_path, groups) as port:
        yield port


def call(
    port: int, method: str, path: str, body: Any = None, source: str = "127.0.0.1", **headers: str
) -> tuple[int, Any]:
    """Status and JSON of an answer to somebody at `source`."""
    address = (source, 0)
    with closing(
        HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS, source_address=address)
    ) as connection:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Type"] = "application/json"
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text


def counted(port: int, *words: str) -> float:
    """The sum of a metric's samples of one group."""
    lines = scrape(port).splitlines()
    found = [line for line in lines if all(word in line for word in words) and line[0] != "#"]
    return sum(float(line.rpartition(" ")[2]) for line in found)


@pytest.fixture
def session(shop: Shop) -> SessionView:
    return shop.session()


@pytest.fixture
def bid(shop: Shop, app: Flask, session: SessionView) -> Callable[[int, float], tuple[int, Any]]:
    with app.app_context():
        bearer = f"Bearer {tokens.issue(shop.account())['token']}"

    def place(port: int, price: float) -> tuple[int, Any]:
        body = {"session_id": str(session.session_id), "price": price}
        return call(port, "POST", "/api/bid", body, Authorization=bearer)

    return place


def test_bids_are_answered_by_the_lane(any_proxy: int, groups: Groups, bid: Any) -> None:
    by_lane = ("flashbid_bid_doors_total", 'door="lane"')
    before = counted(groups.web, *by_lane)
    for price in range(150, 155):
        status, answer = bid(any_proxy, price)
        assert (status, answer["rank"]) == (200, 1)
    # Processes publish their counts now and then: those of an earlier test may still come.
    assert wait_until(lambda: counted(groups.web, *by_lane) >= before + 5, TIMEOUT_SECONDS)
    assert counted(groups.web, "flashbid_bid_doors_total", 'door="flask"') == 0


def test_connections_to_web_stay(shipped: int, groups: Groups, bid: Any) -> None:
    seen: set[int] = set()
    for price in range(150, 170):
        assert bid(shipped, price)[0] == 200
        kept = kept_connections(groups.web)
        assert kept
        seen |= kept
    # Each process or thread of the proxy keeps its own, and the health checks have theirs.
    assert len(seen) < 20


def test_without_the_shipped_files_lines_none_stays(
    tmp_path: Path, groups: Groups, bid: Any
) -> None:
    """The control."""
    with nginx(PLAIN, tmp_path, groups) as port:
        assert bid(port, 150)[0] == 200
        assert wait_until(lambda: not kept_connections(groups.web), TIMEOUT_SECONDS)


def kept_connections(port: int) -> set[int]:
    """The other ends' ports of web's open connections."""
    return {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.raddr and connection.raddr.port == port and connection.status == "ESTABLISHED"
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_watchers_are_shown_the_board_by_their_group(
    name: str, tmp_path: Path, groups: Groups, session: SessionView, bid: Any
) -> None:
    theirs = groups if "site" not in name else Groups(groups.watch, groups.web)
    with proxy(name, tmp_path, groups) as port:
        watch_through(port, theirs, session, bid)


def watch_through(shipped: int, groups: Groups, session: SessionView, bid: Any) -> None:
    with watch(shipped, session.session_id) as watcher:
        assert prices(watcher.frame()) == []
        assert bid(shipped, 150)[0] == 200
        assert prices(watcher.frame()) == [150]
        watcher.socket.send("ping")
        assert watcher.socket.recv(timeout=TIMEOUT_SECONDS) == "pong"
        watching = "flashbid_watchers"
        assert wait_until(lambda: counted(groups.watch, watching) == 1, TIMEOUT_SECONDS)
        # An earlier test's watcher may have been there, and be counted a little longer.
        assert wait_until(lambda: counted(groups.web, watching) == 0, TIMEOUT_SECONDS)


def test_an_unknown_session_closes_with_its_code_through_a_proxy(shipped: int, shop: Shop) -> None:
    with watch(shipped, "no-id") as watcher:
        assert watcher.close_code() == 4404


def test_the_clients_own_address_counts_whatever_it_forges(shipped: int, shop: Shop) -> None:
    def log_in(source: str, forged: str) -> int:
        path = "/api/auth/login"
        return call(shipped, "POST", path, WRONG_LOGIN, source, X_Forwarded_For=forged)[0]

    assert [log_in("127.0.0.1", f"192.0.2.{number}") for number in range(3)] == [401, 401, 429]
    # Another client, though it says to be the first one.
    assert log_in("127.0.0.2", "127.0.0.1") == 401


def test_a_body_too_large_is_refused_by_web(shipped: int, shop: Shop) -> None:
    status, answer = call(shipped, "POST", "/api/auth/login", {"username": "x" * 70_000})
    assert (status, answer["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/metrics?x"])
def test_metrics_are_not_for_clients(shipped: int, path: str) -> None:
    assert call(shipped, "GET", path)[0] == 404


@pytest.mark.parametrize("path", ["/ws", "/ws/", "/api//sessions", "/api", "/docs/"])
def test_nginx_redirects_nowhere(shipped: int, path: str) -> None:
    """A redirect would lead to whatever Host the client sent."""
    status, _ = call(shipped, "GET", path, Host="evil.example")
    assert not 300 <= status < 400
