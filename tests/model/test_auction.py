"""The auction of the product agrees with a short one, whatever happens to it."""

import faulthandler
import time
from collections import Counter
from functools import partial

import pytest
from hypothesis import settings

from core.bootstrap import Services
from tests.model.machine import AuctionMachine, Limits
from tests.model.mishaps import Step
from tests.model.running import PROFILE, PROFILES, run

MUST_HAPPEN = {
    "tie",
    "replay",
    "accepted together",
    "some refused",
    "replayed beside new ones",
    "weight kept",
    "half a drain",
    "swept",
    "loaded again",
    "bids lost",
    "drains met",
    "clock jumped",
    *Step,
    "params lost with bids in the log",
    "ended early",
    "ended by time",
    "SessionNotStarted",
    "SessionInactive",
    "SessionEnded",
    "PriceBelowUpset",
    "PriceBelowStanding",
    "ScoreWouldDrop",
    "highest bid fell",
}


@pytest.fixture
def profile() -> settings:
    if PROFILE not in {"ci", "gate"}:
        faulthandler.cancel_dump_traceback_later()
    return PROFILES[PROFILE]


def test_the_auction_agrees_with_its_model(
    services: Services, clean: None, profile: settings
) -> None:
    seen = Counter[str]()
    started = time.monotonic()

    run(partial(AuctionMachine, services, seen), profile)

    print(f"{time.monotonic() - started:.1f} s:", dict(seen.most_common()))  # noqa: T201 - for -rP
    assert set(seen) >= MUST_HAPPEN


def test_the_rate_limit_agrees_with_its_model(
    services: Services, clean: None, profile: settings
) -> None:
    seen = Counter[str]()
    # So slow that a busy machine does not give a member back what it takes.
    limits = Limits(rate=2.0, size=2)

    run(
        partial(AuctionMachine, services, seen, limits=limits),
        settings(profile, max_examples=profile.max_examples // 8),
    )

    assert seen["rate limited"]
