"""The closed model: when members come, what they bid, and Locust's page with the knobs."""

import importlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import fields
from decimal import Decimal
from http.client import HTTPConnection
from math import sqrt
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from core.config import PROJECT_ROOT
from dev.children import free_port
from dev.stack import wait_until
from loadtest.sale.members import MemberToken
from loadtest.sale.plan import LoadPlan
from loadtest.sale.prices import PricingTerms
from loadtest.sale.sale import SaleSession
from loadtest.traffic.locust_state import SimulatedBidder, locust_state
from tests.loadtest.conftest import Server, write_members
from tests.support.factories import PASSWORD, Shop

PLAN = LoadPlan(members=100, peak=50, duration=60)
TERMS = PricingTerms(upset_price=100, alpha=0.5, beta=1000, gamma=2)
KNOBS = {"members": "3", "peak": "3", "duration": "600", "inventory": "7"}
PATIENCE_SECONDS = 60
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def closed() -> ModuleType:
    """The locustfile, without the patches that would change how every other test waits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
        return importlib.import_module("loadtest.traffic.locustfile")


@pytest.fixture
def sale_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], SaleSession]:
    """Lets the sale be so many seconds after its start; before it when they are negative."""

    def put(elapsed: float, plan: LoadPlan = PLAN) -> SaleSession:
        start = time.time() - elapsed
        sale = SaleSession("a-session", start, start + plan.duration, 3, TERMS)
        monkeypatch.setattr(locust_state, "plan", plan)
        monkeypatch.setattr(locust_state, "sale", sale)
        return sale

    return put


@pytest.fixture
def member(
    closed: ModuleType, sale_at: Callable[[float], SaleSession], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Makes members of the sale, as they are when they have arrived."""
    from locust.env import Environment  # noqa: PLC0415 - patches, unless it came after `closed`

    environment = Environment(user_classes=[closed.Member])
    monkeypatch.setattr(closed.Member, "host", "http://127.0.0.1:1")

    def make(elapsed: float = 30.0, name: str = "one") -> Any:
        made = closed.Member(environment)
        made.sale, made.plan = sale_at(elapsed), PLAN
        made.bidder = SimulatedBidder(MemberToken(name, "token"), PLAN, made.sale)
        return made

    return make


def test_the_first_tick_starts_the_test_and_with_it_the_sale(
    closed: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locust_state, "sale", None)
    assert closed.FlashSale().tick() == (1, 1.0)


@pytest.mark.parametrize(("elapsed", "share"), [(-3, 0.6), (30, 0.08), (60.5, 1.0)])
def test_as_many_members_come_as_the_curve_says(
    closed: ModuleType, sale_at: Callable[[float], SaleSession], elapsed: float, share: float
) -> None:
    sale_at(elapsed)
    count, spawn_rate = closed.FlashSale().tick()
    assert count == pytest.approx(share * PLAN.members, abs=3)
    assert spawn_rate >= count, "all of them within the second until the next tick"


def test_when_all_is_over_everybody_goes_home(
    closed: ModuleType, sale_at: Callable[[float], SaleSession]
) -> None:
    sale_at(PLAN.curve.end_seconds)
    assert closed.FlashSale().tick() is None


def test_more_members_than_a_second_can_bring_come_over_several(
    closed: ModuleType, sale_at: Callable[[float], SaleSession]
) -> None:
    plan = LoadPlan(members=5000, peak=50, duration=60)
    sale_at(60.5, plan)
    assert closed.FlashSale().tick() == (5000, closed.MAX_SPAWNS_PER_SECOND)


def test_who_knows_no_threshold_bids_a_little_above_the_upset_price(
    member: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locust_state, "threshold", None)
    assert TERMS.upset_price <= member()._next_price() < 2 * TERMS.upset_price


def test_who_wins_does_not_raise(
    member: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locust_state, "threshold", 300.0)
    winning = member()
    winning.bidder.standing, winning.bidder.score = Decimal(500), 300.0
    assert winning._next_price() is None


def test_who_is_outbid_raises_to_what_wins(
    member: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locust_state, "threshold", 300.0)
    outbid = member(elapsed=30.0)
    outbid.bidder.standing, outbid.bidder.score = Decimal(500), 299.0
    outbid.bidder.limit = 10_000.0
    price = outbid._next_price()
    assert price > outbid.bidder.standing
    assert price > TERMS.price_for(300.0, 30.0, outbid.bidder.weight)


def test_nobody_raises_above_the_limit(
    member: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locust_state, "threshold", 300.0)
    outbid = member()
    outbid.bidder.limit = TERMS.price_for(300.0, 30.0, outbid.bidder.weight)
    assert outbid._next_price() is None


def test_a_cheap_place_still_takes_the_upset_price(
    member: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locust_state, "threshold", 1.0)
    assert member()._next_price() >= TERMS.upset_price


def test_who_gathers_before_the_opening_bids_at_once(member: Callable[..., Any]) -> None:
    assert {member(-3.0, f"member-{n}")._first_bid_at() for n in range(200)} == {0.0}


def test_some_of_those_who_come_later_wait_for_the_end(
    closed: ModuleType, member: Callable[..., Any]
) -> None:
    moves = [member(10.0, f"member-{n}")._first_bid_at() for n in range(1000)]
    late = [move for move in moves if move]
    share = closed.LATE_BIDDERS_SHARE
    assert abs(len(late) - 1000 * share) < 5 * sqrt(1000 * share * (1 - share))
    assert max(late) < PLAN.duration
    assert median(late) > PLAN.duration - PLAN.curve.closing_seconds


class Page:
    """Locust with its web page, and the admin's account in its environment."""

    def __init__(self, server: Server, tokens: Path, folder: Path) -> None:
        self.folder, self._port = folder, free_port()
        command = ["locust", "-f", "loadtest/traffic/locustfile.py", "--host", server.host]
        command += ["--tokens", str(tokens), "--ledger", str(folder)]
        command += ["--web-host", "127.0.0.1", "--web-port", str(self._port)]
        self._popen = subprocess.Popen(  # noqa: S603 - the project's own command
            [sys.executable, "-m", *command],
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.says("Starting web interface")
        # It says so a moment before it listens.
        assert wait_until(self._listens, PATIENCE_SECONDS)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
            return True
        return False

    def says(self, words: str) -> str:
        """The next line of its output with these words."""
        return next((line for line in self._popen.stdout if words in line), "")

    def call(self, method: str, path: str, **form: str) -> str:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            connection.request(method, path, urlencode(form) or None, FORM)
            response = connection.getresponse()
            assert response.status == 200
            return response.read().decode()

    def sell(self) -> str:
        """Start a sale with the knobs in the form, and stop it; its session."""
        answer = json.loads(self.call("POST", "/swarm", user_count="1", spawn_rate="1", **KNOBS))
        assert answer["success"], answer
        session_id = self.says("loadtest: session").split()[2].rstrip(",")
        # Before that, Locust has nothing yet that it could stop.
        assert self.says("All users spawned")
        self.call("POST", "/stop")
        assert session_id in self.says("loadtest: verify with")
        return session_id

    def close(self) -> None:
        self._popen.terminate()
        self._popen.communicate()


@pytest.fixture
def page(
    app: Flask, shop: Shop, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    shop.account("boss")
    monkeypatch.setenv("FLASHBID_ADMIN_NAME", "boss")
    monkeypatch.setenv("FLASHBID_ADMIN_PASSWORD", PASSWORD)
    with app.app_context():
        tokens = write_members(shop.services.accounts.seed(3), tmp_path / "members.jsonl")
    with closing(Page(server, tokens, tmp_path)) as page:
        yield page


def test_each_start_on_the_page_opens_a_session_with_the_knobs_of_its_form(
    page: Page, shop: Shop
) -> None:
    form = page.call("GET", "/")
    assert [knob.name for knob in fields(LoadPlan) if f'"{knob.name}"' not in form] == []
    assert PASSWORD not in form
    sessions = {page.sell(), page.sell()}
    found = shop.rows("SELECT id::text, inventory FROM sessions")
    assert sorted(found) == sorted((session_id, 7) for session_id in sessions)
    assert len(sessions) == 2
