"""Both generators against a real server that now and then answers too late."""

import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from io import BytesIO
from itertools import count, islice
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from flask import Flask

from core.config import PROJECT_ROOT
from core.redis import clock
from core.sessions.sessions import SessionView
from dev.children import free_port
from loadtest.ledger import ledger
from loadtest.sale.plan import LoadPlan
from tests.loadtest.conftest import Server, Sold, write_members
from tests.support.factories import Shop
from tests.support.leaks import leaks_in

MEMBERS = 24
PLAN = LoadPlan(members=MEMBERS, peak=16, duration=10, inventory=3, timeout=1.5)
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
    sale starts when everybody is there. Locust's worker asks later, and need not wait.
    """

    def __init__(self, app: Flask, gathered: Barrier) -> None:
        self._app, self._gathered = app, gathered
        self.somebody_waits, self.all_are_there = Event(), Event()
        self._numbers = count(1)
        self._asked: set[tuple[str, bytes]] = set()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        path, is_late = environ["PATH_INFO"], False
        if path.startswith("/api/sessions/"):
            self._gather()
        elif path == "/api/bid":
            is_late = self._is_late(environ)
        answer = self._app(environ, start_response)
        if is_late:
            _wait_until_given_up(environ["werkzeug.socket"])
        return answer

    def _gather(self) -> None:
        self.somebody_waits.set()
        if not self.all_are_there.is_set():
            self._gathered.wait(PATIENCE_SECONDS)
            self.all_are_there.set()

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


@pytest.fixture
def members_files(app: Flask, shop: Shop, tmp_path: Path) -> list[Path]:
    """One for each generator: a bid of the other's would come between a bid and its replay."""
    accounts = iter(shop.services.accounts.seed(2 * MEMBERS))
    with app.app_context():
        return [
            write_members(islice(accounts, MEMBERS), tmp_path / f"{name}.jsonl")
            for name in ("closed", "open")
        ]


def generate(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the project's own commands
        [sys.executable, "-m", *arguments],
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
    """What the closed model's master and worker, the open model and the watchers said."""
    keeping = ["--ledger", str(tmp_path)]
    common = ["--host", server.host, "--session", str(session.session_id), *keeping]
    closed_members, open_members = (["--tokens", str(path)] for path in members_files)
    port = str(free_port())
    quiet = ["--headless", "--only-summary", "--stop-timeout", "3", "--exit-code-on-error", "0"]
    locust = ["locust", "-f", "loadtest/traffic/locustfile.py"]
    master = ["--master", "--expect-workers", "1", "--master-bind-port", port, *quiet]
    worker = ["--worker", "--master-host", "127.0.0.1", "--master-port", port, *keeping]
    processes = []
    try:
        processes.append(generate(*locust, *master, *common, *closed_members, *PLAN.options()))
        # Everything else it hears from the master: plan, session and members.
        processes.append(generate(*locust, *worker))
        # One after the other: no generator waits for an answer until two slow ones are there.
        late_server.somebody_waits.wait(PATIENCE_SECONDS)
        processes.append(generate("loadtest", "open", *common, *open_members, *PLAN.options()))
        late_server.all_are_there.wait(PATIENCE_SECONDS)
        watching = ["--watchers", str(WATCHERS), "--session", str(session.session_id), *keeping]
        processes.append(generate("loadtest", "watch", "--host", server.host, *watching))
        *bidding, watchers = processes
        texts = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in bidding]
        watchers.terminate()
        texts.append(watchers.communicate(timeout=PATIENCE_SECONDS)[0])
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
    assert [code for code, _ in outputs] == [0, 0, 0, 0], outputs
    assert all(not leaks_in(text.decode()) for _, text in outputs)
    assert shop.services.closing.close(session.session_id)
    recorded = ledger.read(ledger.find(tmp_path), str(session.session_id))
    # Locust's master keeps none: its worker has all members.
    assert sorted(run["mode"] for run in recorded.runs) == ["closed", "open", "watchers"]
    kinds = Counter(attempt.kind for attempt in recorded.attempts)
    assert kinds["accepted"] > 0
    assert kinds["timeout"] > 0
    assert kinds["replayed"] > 0, "a member asks again after a time-out, and is told the same bid"
    assert kinds["session_ended"] > 0, "some come too late"
    assert not kinds["connection"]
    # This server is Flask alone: each try to watch is refused, and is made again.
    assert sum(sample["refused"] for sample in recorded.crowd) > WATCHERS
    assert Sold(shop, server.host, session, tmp_path, recorded.attempts).verify() == 0
