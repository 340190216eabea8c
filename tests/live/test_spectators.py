"""Locust's watchers on the real web process."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from flask import Flask

from core.config import PROJECT_ROOT
from core.sessions.sessions import SessionView
from dev.stack import wait_until
from loadtest.ledger import lags
from tests.live.conftest import Web
from tests.live.test_crowd import are_watching, counted, recorded
from tests.support.factories import Shop
from web.guards import tokens

WATCHERS = 3
# Locust starts slowly on a busy machine.
TIMEOUT_SECONDS = 90.0


@pytest.fixture
def session(shop: Shop) -> SessionView:
    return shop.session()


@pytest.fixture
def locust(
    web: Web, app: Flask, shop: Shop, session: SessionView, tmp_path: Path
) -> Iterator[None]:
    """A headless run whose ledger is in the test's folder: one member, and some who watch."""
    account = shop.account()
    with app.app_context():
        member = {"user_id": str(account.user_id), "token": tokens.issue(account)["token"]}
    (tmp_path / "members.jsonl").write_text(json.dumps(member) + "\n")
    options = ["--host", f"http://127.0.0.1:{web.port}", "--session", str(session.session_id)]
    options += ["--tokens", str(tmp_path / "members.jsonl"), "--ledger", str(tmp_path)]
    options += ["--members", "1", "--peak", "1", "--duration", "3600"]
    options += ["--watchers", str(WATCHERS), "--headless", "--only-summary"]
    options += ["--csv", str(tmp_path / "run")]
    process = subprocess.Popen(  # noqa: S603 - the project's own command
        [sys.executable, "-m", "locust", "-f", "loadtest/traffic/locustfile.py", *options],
        cwd=PROJECT_ROOT,
    )
    yield
    process.kill()
    process.wait()


def frames_in_statistics(folder: Path) -> int:
    """What Locust says itself, once a second; 0 when it is just being written."""
    with (folder / "run_stats.csv").open() as file, suppress(TypeError, ValueError):
        rows = [row for row in csv.DictReader(file) if row.get("Name") == "frame"]
        return sum(int(row["Request Count"]) for row in rows)
    return 0


@pytest.mark.usefixtures("locust")
def test_watchers_of_locust_see_every_bid_and_its_lag_is_kept(
    shop: Shop, session: SessionView, tmp_path: Path
) -> None:
    assert wait_until(lambda: are_watching(tmp_path, WATCHERS), TIMEOUT_SECONDS)
    # A lag is from one frame to the next, so everybody needs a first one.
    time.sleep(1)
    bidder, accepted = shop.bidder(), []
    for price in range(150, 155):
        accepted.append(shop.bid(bidder, session, str(price)).accepted_at.timestamp())
        time.sleep(0.1)

    def everybody_has_seen_all() -> bool:
        return lags.total(recorded(tmp_path).seen, accepted).count == len(accepted) * WATCHERS

    assert wait_until(everybody_has_seen_all, TIMEOUT_SECONDS)
    shop.close(session)
    assert wait_until(lambda: are_watching(tmp_path, 0), TIMEOUT_SECONDS)
    # Nobody comes back for more than the results.
    time.sleep(2)

    lag = lags.total(recorded(tmp_path).seen, accepted)
    assert 0 <= lag.p50 <= lag.p99 <= lag.slowest < TIMEOUT_SECONDS * 1000
    assert [counted(tmp_path, name) for name in ("lost", "refused", "reconnects")] == [0, 0, 0]
    shown = counted(tmp_path, "frames")
    assert shown >= WATCHERS
    assert wait_until(lambda: frames_in_statistics(tmp_path) == shown, TIMEOUT_SECONDS)
