"""Which answers get a line in the log, and what it says, from a real gunicorn."""

import json
import re
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from tests.api.conftest import CheckedClient
from tests.api.routes.test_service import closed_port
from tests.support.factories import Shop
from tests.support.http.serving import logging_to

__all__ = ["closed_port"]

JSON = "application/json"
# The lane takes the first kind, Flask the other.
CONTENT_TYPES = (JSON, f"{JSON}; charset=UTF-8")
QUERIES = ("", "?page=2", "?page_size=10")


def ask(port: int, method: str, path: str, body: str = "", **headers: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body or None, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def flash(port: int, shop: Shop, member: CheckedClient) -> list[int]:
    """A bid and looks at the board by each way, and two requests of other kinds."""
    session_id = str(shop.session().session_id)
    token = member.environ_base["HTTP_AUTHORIZATION"]
    body = json.dumps({"session_id": session_id, "price": 150})
    headers = [{"Authorization": token, "Content-Type": kind} for kind in CONTENT_TYPES]
    return [
        *(ask(port, "POST", "/api/bid", body, **each) for each in headers),
        *(ask(port, "GET", f"/api/leaderboard/{session_id}{query}") for query in QUERIES),
        ask(port, "GET", "/health"),
        ask(port, "GET", "/api/sessions/active"),
    ]


def told(log: Path) -> Iterator[dict[str, Any]]:
    """The lines on requests; Redis's loading a session says things, too."""
    for line in map(json.loads, log.read_text().splitlines()):
        if line["event"] == "request":
            yield line


@pytest.mark.parametrize(
    ("choice", "lines"),
    [
        ("all", ["/api/bid"] * 2 + ["/api/leaderboard"] * 3 + ["/health", "/api/sessions/active"]),
        ("lean", ["/api/sessions/active"]),
        ("off", []),
    ],
)
def test_the_choice_says_which_answers_get_a_line(
    shop: Shop, member: CheckedClient, tmp_path: Path, choice: str, lines: list[str]
) -> None:
    log = tmp_path / "log"
    with logging_to(log, ACCESS_LOG=choice) as port:
        assert set(flash(port, shop, member)) == {200}
    assert [re.sub(r"/[0-9a-f-]{36}$", "", line["path"]) for line in told(log)] == lines


def test_a_line_says_what_was_answered_to_whom_and_how_long_it_took(
    shop: Shop, member: CheckedClient, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with logging_to(log, ACCESS_LOG="all") as port:
        started_at = perf_counter()
        flash(port, shop, member)
        flash_ms = (perf_counter() - started_at) * 1000
    lines = list(told(log))
    for line in lines:
        assert (line["status"], line["client"]) == (200, "127.0.0.1")
        assert isinstance(line["ms"], float)
        assert line["request_id"]
    assert 0 < sum(line["ms"] for line in lines) < flash_ms, "they came one after another"
    assert [line["outcome"] for line in lines[:2]] == ["accepted", "replayed"]


def test_lean_tells_of_bids_that_failed_here_whichever_way_they_came(
    shop: Shop, member: CheckedClient, tmp_path: Path, closed_port: int
) -> None:
    log = tmp_path / "log"
    with logging_to(log, REDIS_HOST="127.0.0.1", REDIS_PORT=str(closed_port)) as port:
        answered = flash(port, shop, member)
    assert answered[:2] == [503, 503]
    bids = [line for line in told(log) if line["path"] == "/api/bid"]
    assert [(line["status"], line["outcome"]) for line in bids] == [
        (503, "temporarily_unavailable")
    ] * 2


def test_with_debug_the_lines_are_for_people(
    shop: Shop, member: CheckedClient, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with logging_to(log, DEBUG="true") as port:
        flash(port, shop, member)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text())
    [line] = [line for line in plain.splitlines() if "/api/sessions/active" in line]
    assert not any(text.startswith("{") for text in plain.splitlines())
    assert re.match(r"\S+ \[info +\] request ", line)
    assert re.search(r" ms=[0-9.]+ .*path=/api/sessions/active .*status=200\b", line)
