"""What a sale needs, by the measured costs."""

from dataclasses import replace

import pytest

from core import capacity
from core.capacity import Constant, Sale, plan

SALE = Sale(bidders=10_000, peak_rate=7_000, sessions=10, peak_seconds=60.0, outage_seconds=300.0)


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
        assert busy <= capacity.PLANNED_LOAD * count
        assert busy > capacity.PLANNED_LOAD * (count - 1)


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


def test_a_session_faster_than_its_drain_leaves_a_backlog() -> None:
    rate = capacity.DRAIN_RATE.value * 2
    needed = plan(replace(SALE, sessions=1, peak_rate=rate))
    assert needed.backlog_bids > rate * SALE.peak_seconds * 0.5
