"""A session is loaded anew by hand, and no acknowledged bid is lost by it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from flask import Flask

from core.config import PROJECT_ROOT
from core.redis import keys
from tests.support.factories import Shop
from tests.support.http.client import SCRAPER
from web import create_app


def test_a_rebuild_loses_no_bid_that_comes_in_meanwhile(shop: Shop) -> None:
    session = shop.session()
    bidders = [shop.bidder() for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        placed = [pool.submit(shop.bid, bidder, session, "150") for bidder in bidders]
        for _ in range(3):
            shop.services.loader.rebuild(session.session_id)
        sequences = sorted(bid.result().sequence for bid in placed)
    assert sequences == list(range(1, 41))
    shop.drain(session)
    assert shop.rows("SELECT count(*), max(sequence) FROM bids") == [(40, 40)]
    checks = shop.services.audit.verify(session.session_id)
    assert not any(check.differences for check in checks)


def test_lost_places_are_recorded_and_not_given_to_other_bids(shop: Shop) -> None:
    session = shop.session()
    for _ in range(3):
        shop.bid(shop.bidder(), session, "150")
    shop.services.redis.delete(keys.bid_log(session.session_id))

    shop.services.loader.rebuild(session.session_id)
    # Once, and exactly: the params that were left knew the last sequence given out.
    assert shop.rows("SELECT kind, details FROM session_events") == [
        ("bid_log_gap", {"first_missing": 1, "last_missing": 3})
    ]
    assert shop.bid(shop.bidder(), session, "150").sequence == 4


@pytest.mark.parametrize("session_id", ["nonsense", str(UUID(int=1))])
def test_a_session_that_is_none_is_answered_with_exit_2(
    app: Flask, clean: None, session_id: str
) -> None:
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["rebuild", session_id])
    assert result.exit_code == 2


def test_the_command_says_what_it_did(app: Flask, shop: Shop) -> None:
    session = shop.session()
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["rebuild", str(session.session_id)])
    assert (result.exit_code, "loaded from PostgreSQL" in result.output) == (0, True)


def test_what_the_command_counts_is_shown_after_it_has_ended(shop: Shop, tmp_path: Path) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    shop.services.redis.delete(keys.bid_log(session.session_id))
    subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "flask", "--app", "web", "rebuild", str(session.session_id)],
        cwd=PROJECT_ROOT,
        env={**os.environ, "METRICS_FOLDER": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    settings = replace(shop.services.settings, metrics_folder=str(tmp_path))
    web = create_app(services=replace(shop.services, settings=settings))
    lines = web.test_client().get("/metrics", headers=SCRAPER).text.splitlines()
    by_command = [line for line in lines if 'role="command"' in line]
    for name, kind in (("session_events", "bid_log_gap"), ("session_loads", "again")):
        start = f'flashbid_{name}_total{{kind="{kind}"'
        assert [line.split()[-1] for line in by_command if line.startswith(start)] == ["1.0"]
    # It has ended, and nobody is to be woken for that.
    assert not any(line.startswith("flashbid_processes") for line in by_command)
