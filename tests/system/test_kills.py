"""kill -9 to each kind of process while bids arrive."""

import time
from collections.abc import Callable
from typing import Any

from dev.stack import Stack, wait_until
from tests.support.crowd import Crowd, Row
from tests.support.http.client import Client, final_results

# A drain that was scheduled is trusted for five seconds; then the sweep comes.
STORED_TIMEOUT_SECONDS = 30.0


def test_killed_workers_and_beat_lose_no_bid_and_store_none_twice(
    stack: Stack,
    client: Client,
    admin: Client,
    crowd: Crowd,
    stored_bids: Callable[[str], dict[int, Row]],
) -> None:
    with crowd.bidding():
        assert crowd.goes_on()
        for name in ("worker", "closer", "helper"):
            stack[name].children()[0].kill()
        assert crowd.goes_on()
        for names in (["worker"], ["beat", "closer"], ["worker", "helper"]):
            for name in names:
                stack[name].kill()
            assert crowd.goes_on()
            for name in names:
                stack[name].start()
            assert crowd.goes_on()
    acknowledged = crowd.acknowledged()
    last_bid_at = time.monotonic()

    assert wait_until(
        lambda: len(stored_bids(crowd.session_id)) >= len(acknowledged), STORED_TIMEOUT_SECONDS
    )
    print(f"{len(acknowledged)} bids stored {time.monotonic() - last_bid_at:.1f} s after the last")  # noqa: T201
    assert stored_bids(crowd.session_id) == acknowledged
    assert sorted(acknowledged) == list(range(1, len(acknowledged) + 1))
    admin.put(f"/api/admin/sessions/{crowd.session_id}/close")
    assert final_results(client, crowd.session_id)["total_bidders"] == len(crowd.bidders)


def test_results_come_although_all_workers_were_dead_at_the_end(
    stack: Stack,
    client: Client,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    session_id = new_session(duration_minutes=1 / 60)["session_id"]
    assert member().bid(session_id, 150).status == 200
    for name in ("worker", "closer", "helper", "beat"):
        stack[name].kill()
    results = f"/api/results/{session_id}"
    assert wait_until(lambda: client.get(results).json["code"] == "results_pending", 10)

    stack.start()

    assert final_results(client, session_id)["final_price"] == 150


def test_a_killed_web_process_is_replaced_and_no_acknowledged_bid_is_lost(
    stack: Stack,
    crowd: Crowd,
    stored_bids: Callable[[str], dict[int, Row]],
) -> None:
    with crowd.bidding():
        assert crowd.goes_on()
        for killed in stack["web"].children():
            killed.kill()
            assert crowd.goes_on()

    acknowledged = crowd.acknowledged()
    assert any(bidder.broken_connections for bidder in crowd.bidders)
    assert wait_until(lambda: len(stack["web"].children()) == 2, 10)
    assert wait_until(
        lambda: len(stored_bids(crowd.session_id)) >= len(acknowledged), STORED_TIMEOUT_SECONDS
    )
    assert stored_bids(crowd.session_id) == acknowledged
