"""Both generators against a real server that now and then answers too late."""

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from io import BytesIO
from itertools import count, islice
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from flask import Flask

from core import clock
from core.accounts import Account
from core.config import PROJECT_ROOT
from core.sessions import SessionView
from loadtest import ledger
from loadtest.plan import Plan
from tests.factories import Shop
from tests.leaks import leaks_in
from tests.loadtest.conftest import Server, Sold
from web import tokens

MEMBERS = 24
PLAN = Plan(members=MEMBERS, peak=16, duration=6, inventory=3, timeout=1.5)
WATCHERS = 2
LATE_EVERY = 5
GATHERING = timedelta(seconds=2)
# Longer than Locust's tick: the test must not be over before the sale is there.
SLOW_ANSWER_SECONDS = 1.5
# How long to wait for processes that start, and end, on a busy machine.
PATIENCE_SECONDS = 120


class LateServer:
    """Every fifth bid is placed, but its first answer comes after the members' patience.

    What a generator asks of the session is answered when all `gathered` have asked, so that the
    sale starts when everybody is there.
    """

    def __init__(self, app: Flask, gathered: Barrier) -> None:
        self._app, self._gathered = app, gathered
        self.somebody_waits = Event()
        self._numbers = count(1)
        self._asked: set[tuple[str, bytes]] = set()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        path, is_late = environ["PATH_INFO"], False
        if path.startswith("/api/sessions/"):
            self.somebody_waits.set()
            self._gathered.wait(PATIENCE_SECONDS)
        elif path == "/api/bid":
            is_late = self._is_late(environ)
        answer = self._app(environ, start_response)
        if is_late:
            _wait_until_given_up(environ["werkzeug.socket"])
        return answer

    def _is_late(self, environ: Any) -> bool:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["wsgi.input"] = BytesIO(body)
        bid = (environ["HTTP_AUTHORIZATION"], body)
        is_new = bid not in self._asked
        self._asked.add(bid)
        return is_new and next(self._numbers) % LATE_EVERY == 0


def _wait_until_given_up(connection: socket.socket) -> None:
    """A member who waits says nothing, so all that can come is the connection's end."""
    with suppress(ConnectionError):
        connection.recv(1, socket.MSG_PEEK)


@pytest.fixture
def session(shop: Shop) -> SessionView:
    """One that is far from its start."""
    start = clock.now(shop.services.redis) + timedelta(hours=1)
    return shop.session(inventory=3, start_time=start, duration=timedelta(seconds=PLAN.duration))


@pytest.fixture
def late_server(app: Flask, server: Server, shop: Shop, session: SessionView) -> LateServer:
    def begin() -> None:
        time.sleep(SLOW_ANSWER_SECONDS)
        start = clock.now(shop.services.redis) + GATHERING
        shop.move_start(session, start)
        shop.move_end(session, start + timedelta(seconds=PLAN.duration))

    late = LateServer(app, Barrier(2, action=begin))
    server.wsgi = late
    return late


def write_members(accounts: Iterable[Account], path: Path) -> Path:
    with path.open("w") as file:
        for account in accounts:
            token = tokens.issue(account)["token"]
            file.write(json.dumps({"user_id": str(account.user_id), "token": token}) + "\n")
    return path


@pytest.fixture
def members_files(app: Flask, shop: Shop, tmp_path: Path) -> list[Path]:
    """One for each generator: a bid of the other's would come between a bid and its replay."""
    accounts = iter(shop.services.accounts.seed(2 * MEMBERS))
    with app.app_context():
        return [
            write_members(islice(accounts, MEMBERS), tmp_path / f"{name}.jsonl")
            for name in ("closed", "open")
        ]


def generate(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the project's own commands
        [sys.executable, "-m", *arguments, *PLAN.options()],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture
def outputs(
    server: Server,
    late_server: LateServer,
    session: SessionView,
    members_files: list[Path],
    tmp_path: Path,
) -> list[tuple[int, bytes]]:
    """What a closed and an open generator said that have bid at the same time."""
    common = ["--host", server.host, "--session", str(session.session_id)]
    common += ["--ledger", str(tmp_path)]
    closed_members, open_members = (["--tokens", str(path)] for path in members_files)
    watching = ["--watchers", str(WATCHERS)]
    quiet = ["--headless", "--only-summary", "--stop-timeout", "3", "--exit-code-on-error", "0"]
    locust = ["locust", "-f", "loadtest/locustfile.py", *common, *closed_members]
    processes = []
    try:
        processes.append(generate([*locust, *watching, *quiet]))
        # One after the other: no generator waits for an answer until two slow ones are there.
        late_server.somebody_waits.wait(PATIENCE_SECONDS)
        processes.append(generate(["loadtest", "open", *common, *open_members]))
        texts = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, text) for p, text in zip(processes, texts, strict=True)]


def test_both_models_keep_a_ledger_that_the_books_confirm(
    shop: Shop,
    server: Server,
    session: SessionView,
    outputs: list[tuple[int, bytes]],
    tmp_path: Path,
) -> None:
    assert [code for code, _ in outputs] == [0, 0], outputs
    assert [leaks_in(text.decode()) for _, text in outputs] == [set(), set()]
    assert shop.services.closing.close(session.session_id)
    recorded = ledger.read(ledger.find(tmp_path), str(session.session_id))
    assert recorded.mode == "closed and open"
    kinds = Counter(attempt.kind for attempt in recorded.attempts)
    assert kinds["accepted"] > 20
    assert kinds["timeout"] > 0
    assert kinds["replayed"] > 0, "a member asks again after a time-out, and is told the same bid"
    assert kinds["session_ended"] > 0, "some come too late"
    assert not kinds["connection"]
    # This server has no live process beside it: each try is refused, and is made again.
    assert sum(sample["refused"] for sample in recorded.crowd) > WATCHERS
    assert Sold(shop, server.host, session, tmp_path, recorded.attempts).verify() == 0
