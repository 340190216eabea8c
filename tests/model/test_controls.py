"""A wrong rule in the short auction is found: the machine can fail."""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import Verbosity, seed, settings

from core.bootstrap import Services
from tests.model.auction import Auction, Bid
from tests.model.machine import AuctionMachine
from tests.model.running import PROFILES, run

# In the first tenth of a run, Hypothesis keeps to short histories, which show little. Many short
# runs find a wrong rule in far fewer histories.
RUNS = 40
FEW = settings(PROFILES["ci"], max_examples=5, verbosity=Verbosity.quiet)


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
        run_often(machine)


def run_often(machine: Callable[[], AuctionMachine]) -> None:
    for number in range(RUNS):
        run(seed(number)(machine), FEW)
