"""Shared by the tests of the members' page."""

from collections.abc import Callable

import pytest

from dev.stack import wait_until
from tests.browser.board import UNREAD, NewSession
from tests.support.http.client import RESULTS_TIMEOUT_SECONDS, Client


@pytest.fixture
def told(new_session: NewSession, member: Callable[..., Client], admin: Client) -> Client:
    """A member who won a lamp, and has news of it."""
    session_id, bidder = new_session(name="Lamp")["session_id"], member()
    assert bidder.bid(session_id, 150).status == 200
    admin.put(f"/api/admin/sessions/{session_id}/close")
    assert wait_until(lambda: bool(bidder.get(UNREAD).json), RESULTS_TIMEOUT_SECONDS)
    return bidder
