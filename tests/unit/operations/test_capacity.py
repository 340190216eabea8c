"""What a sale needs, by the measured costs."""

from dataclasses import replace
from functools import cache
from math import ceil

import pytest
from click.testing import Result
from flask import Flask

from core.bidlog.backlog import BID_BYTES
from core.config import PROJECT_ROOT, load_settings
from core.operations import capacity
from core.operations.capacity import Constant, SaleForecast, plan
from web import create_app

SALE = SaleForecast(
    bidders=10_000, peak_rate=7_000, sessions=10, peak_seconds=60.0, outage_seconds=300.0
)


@pytest.mark.parametrize(
    ("rate", "web_cpu"), [(7_000, capacity.WEB_CPU), (70_000, capacity.CLUSTER_WEB_CPU)]
)
def test_no_core_is_planned_busier_than_agreed(rate: float, web_cpu: Constant) -> None:
    needed = plan(replace(SALE, peak_rate=rate))
    for count, cost in (
        (needed.web_processes, web_cpu),
        (needed.redis_masters, capacity.REDIS_CPU),
    ):
        busy = rate * capacity.seconds(cost)
        assert busy <= capacity.PLANNED_UTILISATION * count
        assert busy > capacity.PLANNED_UTILISATION * (count - 1)


def test_a_session_that_one_redis_cannot_take_does_not_fit() -> None:
    limit = plan(SALE).session_rate_limit
    assert plan(replace(SALE, sessions=1, peak_rate=limit)).fits
    assert not plan(replace(SALE, sessions=1, peak_rate=limit * 1.01)).fits
    assert plan(replace(SALE, sessions=2, peak_rate=limit * 1.01)).fits


def test_memory_holds_all_bidders_and_the_bids_of_an_outage() -> None:
    without_outage = plan(replace(SALE, outage_seconds=0.0)).redis_bytes
    assert without_outage >= SALE.bidders * capacity.BIDDER_MEMORY.value * 2
    bids = plan(SALE).outage_backlog_bids
    assert bids == SALE.peak_rate * SALE.outage_seconds
    assert plan(SALE).redis_bytes - without_outage == pytest.approx(
        bids * capacity.BID_MEMORY.value * capacity.MEMORY_FACTOR, abs=1
    )


def test_the_disk_holds_the_append_only_file_of_peak_and_outage() -> None:
    longer = plan(replace(SALE, peak_seconds=SALE.peak_seconds + 100))
    more = longer.append_only_bytes - plan(SALE).append_only_bytes
    assert more == 100 * SALE.peak_rate * capacity.APPEND_ONLY_BYTES.value


def test_a_session_faster_than_its_drain_leaves_a_backlog() -> None:
    rate = capacity.DRAIN_RATE.value * 2
    needed = plan(replace(SALE, sessions=1, peak_rate=rate))
    assert needed.backlog_bids > rate * SALE.peak_seconds * 0.5


def test_the_backlogs_bound_reckons_with_no_less_than_a_new_bidders_bid_takes() -> None:
    assert capacity.BIDDER_MEMORY.value + capacity.BID_MEMORY.value <= BID_BYTES


def test_the_documentation_has_every_constant_and_no_other() -> None:
    text = (PROJECT_ROOT / "docs" / "how-to" / "scaling.md").read_text()
    section = text.partition("## The measured constants\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows == [
        f"| {constant.value:,.0f} {constant.unit} | {constant.meaning} | {constant.measured} |"
        for constant in capacity.CONSTANTS
    ]


# The command


@cache
def app_under(settings: frozenset[tuple[str, str]]) -> Flask:
    secret = {"JWT_SECRET": "a-secret-for-tests-only-of-more-than-32-bytes"}
    return create_app(load_settings(secret | dict(settings)))


def ask(*options: str, **settings: str) -> Result:
    """What the command answers for a sale of 10,000 bids a second, under these settings."""
    app = app_under(frozenset(settings.items()))
    sale = ["--bidders", "50000", "--peak-rate", "10000"]
    with app.app_context():
        return app.test_cli_runner().invoke(args=["capacity", *sale, *options])


def test_the_command_prints_the_plan_and_all_that_it_rests_on() -> None:
    answer = ask("--sessions", "4", "--peak-seconds", "45", "--outage-seconds", "90")
    assert answer.exit_code == 0
    needed = plan(SaleForecast(50_000, 10_000, 4, 45.0, 90.0))
    for line in (
        f"web        {needed.web_processes} processes",
        f"redis      {needed.redis_masters} masters",
        "900,000 bids after the PostgreSQL outage",
        f"Cores are planned for {capacity.PLANNED_UTILISATION * 100:.0f} % utilisation.",
        f"Redis gets {capacity.MEMORY_FACTOR:g} times the memory",
        "spread evenly over 4 session(s)",
        "The peak lasts 45 s.",
        "PostgreSQL is down for 90 s at the peak rate",
        f"A bid waits {capacity.GATHER_SECONDS:g} s for its drain",
    ):
        assert line in answer.output
    for constant in capacity.CONSTANTS:
        assert f"{constant.value:,.0f} {constant.unit}" in answer.output
        assert f"{constant.meaning} ({constant.measured})" in answer.output


def test_one_session_with_more_than_a_redis_takes_is_said_with_exit_1() -> None:
    limit = plan(SALE).session_rate_limit
    for sessions, exit_code in ((1, 1), (100, 0)):
        answer = ask("--sessions", str(sessions), "--peak-rate", str(ceil(limit) + 1))
        assert answer.exit_code == exit_code
        assert ("One session cannot handle" in answer.output) is bool(exit_code)
        assert ("503 overloaded" in answer.output) is bool(exit_code)


@pytest.mark.parametrize(("max_bids", "refuses"), [("899999", True), ("900000", False)])
def test_an_outage_that_outgrows_the_backlogs_bound_is_said(max_bids: str, refuses: bool) -> None:
    answer = ask("--outage-seconds", "90", BACKLOG_MAX_BIDS=max_bids)
    assert (f"BACKLOG_MAX_BIDS is {int(max_bids):,}" in answer.output) is refuses


@pytest.mark.parametrize("number", ["nan", "-nan", "inf", "-1", "1e999", "1e300", "9" * 5000, "x"])
@pytest.mark.parametrize(
    "option", ["--bidders", "--peak-rate", "--sessions", "--peak-seconds", "--outage-seconds"]
)
def test_a_number_that_cannot_be_meant_is_refused(option: str, number: str) -> None:
    answer = ask(option, number)
    assert answer.exit_code == 2
    assert f"Invalid value for '{option}'" in answer.output


def test_the_largest_numbers_have_a_plan() -> None:
    largest = {"--peak-rate": "1e9", "--bidders": "1000000000", "--outage-seconds": "1000000"}
    answer = ask(*(text for option in largest.items() for text in option))
    assert answer.exit_code == 1
    assert "One session cannot handle" in answer.output
