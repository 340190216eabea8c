"""Both generators against a real server that now and then answers too late."""

import json
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from core.config import PROJECT_ROOT
from core.sessions import SessionView
from loadtest import ledger
from loadtest.plan import Plan
from tests.factories import Shop
from tests.loadtest.conftest import Server, Sold
from web import tokens

MEMBERS = 24
PLAN = Plan(members=MEMBERS, peak=16, duration=4, inventory=3, timeout=0.6)
WATCHERS = 2
LATE_EVERY = 5
LATE_SECONDS = 1.0


@pytest.fixture
def late_server(app: Flask, server: Server) -> Server:
    """Every fifth bid is placed, but its answer comes after the members' patience."""
    numbers = count(1)

    def late(environ: Any, start_response: Any) -> Any:
        answer = app(environ, start_response)
        if environ["PATH_INFO"] == "/api/bid" and next(numbers) % LATE_EVERY == 0:
            time.sleep(LATE_SECONDS)
        return answer

    server.wsgi = late
    return server


@pytest.fixture
def members_file(app: Flask, shop: Shop, tmp_path: Path) -> Path:
    path = tmp_path / "members.jsonl"
    with app.app_context(), path.open("w") as file:
        for account in shop.services.accounts.seed(MEMBERS):
            token = tokens.issue(account)["token"]
            file.write(json.dumps({"user_id": str(account.user_id), "token": token}) + "\n")
    return path


def generate(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the project's own commands
        [sys.executable, "-m", *arguments, *PLAN.options()],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture
def ended(
    shop: Shop, late_server: Server, members_file: Path, tmp_path: Path
) -> tuple[SessionView, list[tuple[int, bytes]]]:
    """A sale into which a closed and an open generator have bid at the same time."""
    start = shop.session().start_time + timedelta(seconds=4)
    session = shop.session(inventory=3, start_time=start, duration=timedelta(seconds=PLAN.duration))
    common = ["--host", late_server.host, "--session", str(session.session_id)]
    common += ["--tokens", str(members_file), "--ledger", str(tmp_path)]
    watching = ["--watchers", str(WATCHERS)]
    quiet = ["--headless", "--only-summary", "--stop-timeout", "3", "--exit-code-on-error", "0"]
    processes = [
        generate(["locust", "-f", "loadtest/locustfile.py", *common, *watching, *quiet]),
        generate(["loadtest", "open", *common]),
    ]
    try:
        outputs = [process.communicate(timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return session, [(p.returncode, text) for p, text in zip(processes, outputs, strict=True)]


def test_both_models_keep_a_ledger_that_the_books_confirm(
    shop: Shop, late_server: Server, ended: Any, tmp_path: Path
) -> None:
    session, outputs = ended
    assert [code for code, _ in outputs] == [0, 0], outputs
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
    assert Sold(shop, late_server.host, session, tmp_path, recorded.attempts).verify() == 0
