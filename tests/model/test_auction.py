"""Runs the machine, as the environment variable HYPOTHESIS_PROFILE says.

ci       the same histories every time; the first one that goes wrong is shown as it is
gate     a third more of them, for .ci/run
explain  the histories of the gate, and the shortest one that goes wrong: that takes minutes
soak     many long histories, others every time
"""

import faulthandler
import os
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.stateful import run_state_machine_as_test

from core.bootstrap import Services
from tests.model.auction import Auction, Bid
from tests.model.machine import AuctionMachine, Limits
from tests.model.mishaps import Step

BASE = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
FIXED = settings(BASE, max_examples=200, stateful_step_count=12, derandomize=True)
PROFILES = {
    "ci": settings(FIXED, phases=[Phase.generate], max_examples=150),
    "gate": settings(FIXED, phases=[Phase.generate]),
    "explain": FIXED,
    "soak": settings(BASE, max_examples=3000, stateful_step_count=60),
}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")

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


def run(make: Callable[[], AuctionMachine], profile: settings) -> None:
    run_state_machine_as_test(make, settings=profile)


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


class LaterBidWinsTies(Auction):
    @property
    def ranking(self) -> list[Bid]:
        return sorted(self.standing.values(), key=lambda bid: (-bid.score, -bid.sequence))


class ForgetsReplays(Auction):
    def is_replay(self, member: int, price: object) -> bool:
        return False


class KeepsTheBestBid(Auction):
    @property
    def standing(self) -> dict[int, Bid]:
        return {bid.member: bid for bid in sorted(self.bids, key=lambda bid: bid.score)}


class WeighsEveryBidAfresh(Auction):
    def weight(self, member: int, weight: float) -> float:
        return weight


class HighestBidOfAllThatWere(Auction):
    @property
    def highest_bid(self) -> Decimal | None:
        return max((bid.price for bid in self.bids), default=None)


class LetsAllPricesFall(Auction):
    def is_bound(self, member: int, price: Decimal) -> bool:
        return False


class LetsNoPriceFall(Auction):
    def is_bound(self, member: int, price: Decimal) -> bool:
        return member in self.standing and price < self.standing[member].price


class ThresholdIsTheFirstLoser(Auction):
    @property
    def threshold(self) -> float | None:
        return self.ranking[: self.terms.inventory + 1][-1].score if self.bids else None


class TakesBidsWhilePaused(Auction):
    def refusal(self, member: int, price: Decimal) -> str | None:
        refusal = super().refusal(member, price)
        return None if refusal == "SessionInactive" else refusal


class RanksAsBidsCame(Auction):
    """Each bid's rank is that of its own moment, whatever came behind it in the same call."""

    @property
    def ranking(self) -> list[Bid]:
        ranked = super().ranking
        if len(self.bids) < 2 or self.bids[-1].accepted_at != self.bids[-2].accepted_at:
            return ranked
        return [*[bid for bid in ranked if bid != self.bids[-1]], self.bids[-1]]


@pytest.mark.parametrize(
    "wrong_auction",
    [
        LaterBidWinsTies,
        ForgetsReplays,
        KeepsTheBestBid,
        WeighsEveryBidAfresh,
        HighestBidOfAllThatWere,
        LetsAllPricesFall,
        LetsNoPriceFall,
        ThresholdIsTheFirstLoser,
        TakesBidsWhilePaused,
        RanksAsBidsCame,
    ],
)
def test_control_a_wrong_rule_is_found(
    services: Services, clean: None, wrong_auction: type[Auction]
) -> None:
    machine = partial(AuctionMachine, services, Counter[str](), wrong_auction)

    with pytest.raises(AssertionError):
        run(machine, settings(PROFILES["ci"], max_examples=200, verbosity=Verbosity.quiet))
