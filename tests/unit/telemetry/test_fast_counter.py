"""The tally counts exactly, whatever threads do, and shows what Prometheus expects."""

from threading import Barrier, Thread

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from core.telemetry.fast_counter import Tally

THREADS, EACH = 8, 5000


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def tally(registry: CollectorRegistry) -> Tally:
    return Tally("call", "Calls", (0.1, 1.0), registry)


def test_nothing_counted_is_an_empty_histogram(tally: Tally, registry: CollectorRegistry) -> None:
    assert registry.get_sample_value("call_seconds_count") == 0
    assert registry.get_sample_value("calls_total", {"outcome": "ok"}) is None


def test_times_fall_into_buckets_bounds_included(tally: Tally, registry: CollectorRegistry) -> None:
    for seconds in (0.05, 0.1, 0.5, 7.0):
        tally.add("ok", seconds)
    tally.add("refused", 0.2)
    buckets = {
        bound: registry.get_sample_value("call_seconds_bucket", {"le": bound})
        for bound in ("0.1", "1.0", "+Inf")
    }
    assert buckets == {"0.1": 2, "1.0": 4, "+Inf": 5}
    assert registry.get_sample_value("call_seconds_sum") == pytest.approx(7.85)
    assert registry.get_sample_value("calls_total", {"outcome": "ok"}) == 4
    assert registry.get_sample_value("calls_total", {"outcome": "refused"}) == 1


def test_threads_lose_no_count_while_others_read(tally: Tally, registry: CollectorRegistry) -> None:
    barrier = Barrier(THREADS)

    def count() -> None:
        barrier.wait()
        for number in range(EACH):
            tally.add("odd" if number % 2 else "even", 0.5)
            if number % 1000 == 0:
                generate_latest(registry)

    threads = [Thread(target=count) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcome in ("odd", "even"):
        counted = registry.get_sample_value("calls_total", {"outcome": outcome})
        assert counted == THREADS * EACH / 2
