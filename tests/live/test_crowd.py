"""The load test's watchers on the real web process."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT
from dev.stack import wait_until
from loadtest.ledger import lags
from loadtest.ledger.ledger import LedgerContents, LedgerTail
from tests.live.conftest import MAX_WATCHERS, Web
from tests.support.factories import Shop

WATCHERS = 6
TIMEOUT_SECONDS = 30.0
Watch = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def watch(web: Web, tmp_path: Path) -> Iterator[Watch]:
    """Starts watchers of a session, whose ledger is in the test's folder."""
    started: list[subprocess.Popen[bytes]] = []

    def start(session_id: object, watchers: int = WATCHERS) -> subprocess.Popen[bytes]:
        options = ["--host", f"http://127.0.0.1:{web.port}", "--session", str(session_id)]
        options += ["--watchers", str(watchers), "--ledger", str(tmp_path)]
        command = [sys.executable, "-m", "loadtest", "watch", *options]
        crowd = subprocess.Popen(command, cwd=PROJECT_ROOT)  # noqa: S603 - our own command
        started.append(crowd)
        return crowd

    yield start
    for crowd in started:
        crowd.kill()
        crowd.wait()


def recorded(folder: Path) -> LedgerContents:
    """All that is written by now; it may be nothing."""
    return LedgerTail(folder).read()


def counted(folder: Path, name: str) -> float:
    return sum(sample[name] for sample in recorded(folder).crowd)


def are_watching(folder: Path, count: int) -> bool:
    crowd = recorded(folder).crowd
    return bool(crowd) and crowd[-1]["watching"] == count


def test_every_bid_is_seen_by_every_watcher_and_its_lag_is_kept(
    web: Web, shop: Shop, watch: Watch, tmp_path: Path
) -> None:
    session, bidder = shop.session(), shop.bidder()
    crowd = watch(session.session_id)
    assert wait_until(lambda: are_watching(tmp_path, WATCHERS), TIMEOUT_SECONDS)
    accepted = []
    for price in range(150, 156):
        accepted.append(shop.bid(bidder, session, str(price)).accepted_at.timestamp())
        time.sleep(0.1)

    shop.close(session)

    assert crowd.wait(TIMEOUT_SECONDS) == 0
    lag = lags.total(recorded(tmp_path).seen, accepted)
    assert lag.count == len(accepted) * WATCHERS
    assert 0 <= lag.p50 <= lag.p99 <= lag.slowest < TIMEOUT_SECONDS * 1000
    assert counted(tmp_path, "lost") == 0


def test_lost_watchers_are_counted_and_come_again(
    web: Web, shop: Shop, watch: Watch, tmp_path: Path
) -> None:
    session = shop.session()
    crowd = watch(session.session_id)
    assert wait_until(lambda: are_watching(tmp_path, WATCHERS), TIMEOUT_SECONDS)

    web.process.kill()
    assert wait_until(lambda: counted(tmp_path, "lost") == WATCHERS, TIMEOUT_SECONDS)
    web.start()

    assert wait_until(lambda: are_watching(tmp_path, WATCHERS), TIMEOUT_SECONDS)
    assert counted(tmp_path, "reconnects") == WATCHERS
    crowd.send_signal(signal.SIGTERM)
    assert crowd.wait(TIMEOUT_SECONDS) == 0


def test_refused_watchers_are_counted(web: Web, shop: Shop, watch: Watch, tmp_path: Path) -> None:
    watch(shop.session().session_id, MAX_WATCHERS + 1)
    assert wait_until(lambda: are_watching(tmp_path, MAX_WATCHERS), TIMEOUT_SECONDS)
    assert wait_until(lambda: counted(tmp_path, "refused") > 0, TIMEOUT_SECONDS)
