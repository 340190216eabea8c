"""Many members at once: every accepted bid is stored once, by few jobs."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from dev.stack import Stack, wait_until
from tests.support.crowd import Row
from tests.support.http.client import Client

MEMBERS, BIDS_EACH, CONNECTIONS = 200, 5, 16


def bid_five_times(bidder: Client, session_id: str, number: int) -> dict[int, Row]:
    """Five bids, each one sent twice; the accepted ones by sequence."""
    accepted = {}
    for price in range(100 + number, 100 + number + BIDS_EACH):
        answer = bidder.bid(session_id, price)
        again = bidder.bid(session_id, price)
        assert (answer.status, again.status) == (200, 200), (answer, again)
        assert (answer.json["replayed"], again.json["replayed"]) == (False, True)
        assert again.json["sequence"] == answer.json["sequence"]
        accepted[answer.json["sequence"]] = (
            bidder.user_id,
            Decimal(price),
            answer.json["score"],
        )
    bidder.close()
    return accepted


def test_every_accepted_bid_of_a_flash_is_stored_exactly_once(
    stack: Stack,
    admin: Client,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
    stored_bids: Callable[[str], dict[int, Row]],
) -> None:
    session_id = new_session(inventory=10)["session_id"]
    bidders = [member() for _ in range(MEMBERS)]
    started = time.monotonic()

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        bids = threads.map(bid_five_times, bidders, [session_id] * MEMBERS, range(MEMBERS))
        accepted = {sequence: row for rows in bids for sequence, row in rows.items()}

    seconds = time.monotonic() - started
    assert sorted(accepted) == list(range(1, MEMBERS * BIDS_EACH + 1))
    assert wait_until(lambda: len(stored_bids(session_id)) >= len(accepted), 30)
    assert stored_bids(session_id) == accepted
    assert admin.get("/api/admin/stats").json["persist_backlog"] == 0
    jobs = stack.count_log_lines("worker", session_id, '"bids_persisted"')
    print(f"{len(accepted)} bids and as many replays in {seconds:.1f} s, {jobs} drain jobs")  # noqa: T201
    assert jobs < len(accepted) / 10
