"""SIGTERM is enough: everything ends by itself, and nothing stays behind."""

import time
from collections.abc import Callable

from dev.stack import Stack, wait_until
from tests.support.crowd import Crowd, Row


def test_sigterm_ends_every_process_and_a_restart_goes_on_where_it_was(
    stack: Stack, crowd: Crowd, stored_bids: Callable[[str], dict[int, Row]]
) -> None:
    with crowd.bidding():
        assert crowd.goes_on()
        asked = time.monotonic()

        codes = stack.stop()

        print(f"stopped in {time.monotonic() - asked:.1f} s: {codes}")  # noqa: T201
        assert None not in codes.values()
        assert not any(process.surviving_pids() for process in stack.processes.values())
        stack.start()
        assert crowd.goes_on()

    acknowledged = crowd.acknowledged()
    assert wait_until(lambda: len(stored_bids(crowd.session_id)) >= len(acknowledged), 30)
    assert stored_bids(crowd.session_id) == acknowledged
