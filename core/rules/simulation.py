"""What a sale would come to: who wins, what time and loyalty are worth, what is paid. Pure.

Scores and prices are those of core.rules.scoring and core.rules.pricing: the bids of a past
session, under its own terms, win as they won.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from random import Random

from core.rules.pricing import OrderTerms, Pricing, RankedBid, price_to_pay, rival_rank
from core.rules.scoring import Coefficients, SaleTerms, is_winning, score, terms_of
from core.rules.weighting import MAX_WEIGHT, NEW_MEMBER_WEIGHT

# Bounds the work of one simulation: about a second.
MAX_BIDS = 20_000
# A result has this many places of the first run, the best ones.
MAX_PLACES = 500
# Of the duration: the time in which members come who are late.
_LATE_PART = 0.1
# The mean arrival of the others is this part of the duration after the start.
_EARLY_PART = 0.05
_MOMENTS = (0.0, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)
_CENT = Decimal("0.01")
USUAL_TERMS = SaleTerms(
    alpha=0.5, beta=1000.0, gamma=2.0, upset_price=Decimal("100.00"), inventory=5
)


@dataclass(frozen=True, slots=True)
class SimulatedBid:
    """A member's standing bid; `response_time` in seconds since the session's start."""

    sequence: int
    price: Decimal
    response_time: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Members who bid once each. Prices and weights are spread evenly over their ranges.

    `late_share`: of the members, from 0 to 1, who come in the last tenth of the duration; the
    others come soon after the start, fewer and fewer.
    """

    bidders: int = 500
    duration_seconds: float = 3600.0
    late_share: float = 0.2
    lowest_price: Decimal = Decimal("100.00")
    highest_price: Decimal = Decimal("300.00")
    largest_weight: float = 2.0
    runs: int = 20
    seed: int = 1


USUAL_CROWD = Crowd()


@dataclass(frozen=True, slots=True)
class SimulatedPlace:
    """A bid in the ranking. `second_price`: what a winner pays by second_score, else None."""

    rank: int
    sequence: int
    price: Decimal
    score: float
    response_time: float
    weight: float
    is_winner: bool
    second_price: Decimal | None


@dataclass(frozen=True, slots=True)
class SecondWorth:
    """The price that bidding one second later costs at this response time; None: no price."""

    response_time: float
    worth: float | None


@dataclass(frozen=True, slots=True)
class Simulation:
    """The outcome of all runs. `places` are of the first one, its best ranks.

    `bids`, `refused` (below the starting price), `highest_bid_losses` (runs in which a loser
    bid more than every winner) and `underbid_winners` (who bid less than a loser) count all
    runs; the revenues are of an average run. `loyalty_worth`: the price that makes up for the
    difference between the least and the largest weight; None where prices do not count.
    """

    terms: SaleTerms
    runs: int
    bids: int
    refused: int
    winners: int
    highest_bid_losses: int
    underbid_winners: int
    revenue_as_bid: Decimal
    revenue_second_score: Decimal
    second_worth: Sequence[SecondWorth]
    loyalty_worth: float | None
    places: Sequence[SimulatedPlace]


def simulate(
    terms: SaleTerms, runs: Sequence[Sequence[SimulatedBid]], duration_seconds: float
) -> Simulation:
    """Rank each run's bids, one or more runs of at most MAX_BIDS in all, and sum them up.

    Terms must tell cents apart (core.rules.scoring.tells_cents).
    """
    ranked = [ranking(terms, bids) for bids in runs]
    winners = [[place for place in places if place.is_winner] for places in ranked]
    losers = [places[len(won) :] for places, won in zip(ranked, winners, strict=True)]
    best_losers = [max((place.price for place in lost), default=None) for lost in losers]
    underbid = [
        [place for place in won if best is not None and place.price < best]
        for won, best in zip(winners, best_losers, strict=True)
    ]
    won = [place for each in winners for place in each]
    bids = sum(map(len, ranked))
    return Simulation(
        terms=terms,
        runs=len(runs),
        bids=bids,
        refused=sum(map(len, runs)) - bids,
        winners=len(won),
        highest_bid_losses=sum(
            bool(won) and len(below) == len(won)
            for won, below in zip(winners, underbid, strict=True)
        ),
        underbid_winners=sum(map(len, underbid)),
        revenue_as_bid=_mean((place.price for place in won), len(runs)),
        revenue_second_score=_mean((place.second_price or Decimal() for place in won), len(runs)),
        second_worth=[
            SecondWorth(moment, second_worth(terms, moment))
            for moment in _MOMENTS
            if moment < duration_seconds
        ],
        loyalty_worth=loyalty_worth(terms),
        places=ranked[0][:MAX_PLACES],
    )


def ranking(terms: SaleTerms, bids: Iterable[SimulatedBid]) -> list[SimulatedPlace]:
    """The final ranking of standing bids, without those below the starting price."""
    order = sorted(
        (
            RankedBid(
                bid.sequence,
                bid.price,
                score(terms, bid.price, bid.response_time, bid.weight),
                bid.response_time,
                bid.weight,
            )
            for bid in bids
            if bid.price >= terms.upset_price
        ),
        key=lambda bid: (-bid.score, bid.sequence),
    )
    by_score = OrderTerms(**terms_of(terms), pricing=Pricing.SECOND_SCORE.value)
    rival = next(iter(order[rival_rank(1, terms.inventory) - 1 :]), None)
    places = []
    for rank, bid in enumerate(order, start=1):
        wins = is_winning(rank, terms.inventory)
        places.append(
            SimulatedPlace(
                rank,
                bid.sequence,
                bid.price,
                bid.score,
                bid.response_time,
                bid.weight,
                is_winner=wins,
                second_price=price_to_pay(by_score, bid, rival) if wins else None,
            )
        )
    return places


def crowd_runs(crowd: Crowd) -> list[list[SimulatedBid]]:
    """The bids of each run; the same seed always makes the same ones."""
    chance = Random(crowd.seed)  # noqa: S311 - a simulation needs no secret
    return [list(_bids(crowd, chance)) for _ in range(crowd.runs)]


def _bids(crowd: Crowd, chance: Random) -> Iterator[SimulatedBid]:
    late = round(crowd.bidders * crowd.late_share)
    arrivals = sorted(
        _arrival(crowd, chance, is_late=number < late) for number in range(crowd.bidders)
    )
    for sequence, arrived in enumerate(arrivals, start=1):
        cents = chance.randint(int(crowd.lowest_price * 100), int(crowd.highest_price * 100))
        yield SimulatedBid(
            sequence,
            Decimal(cents).scaleb(-2),
            arrived,
            chance.uniform(NEW_MEMBER_WEIGHT, crowd.largest_weight),
        )


def _arrival(crowd: Crowd, chance: Random, *, is_late: bool) -> float:
    """Seconds since the start, in whole microseconds as Redis's clock has them."""
    early = min(chance.expovariate(1 / _EARLY_PART), 1.0)
    part = chance.uniform(1 - _LATE_PART, 1) if is_late else early
    return int(part * crowd.duration_seconds * 1_000_000) / 1_000_000


def second_worth(terms: Coefficients, response_time: float) -> float | None:
    """The price that one second costs after `response_time`; None where prices do not count."""
    earlier, later = (score(terms, 0, at, 0) for at in (response_time, response_time + 1))
    return (earlier - later) / terms.alpha if terms.alpha else None


def loyalty_worth(terms: Coefficients) -> float | None:
    """The price that the largest weight is worth beside a new member's; None likewise."""
    loyal, new = (score(terms, 0, inf, weight) for weight in (MAX_WEIGHT, NEW_MEMBER_WEIGHT))
    return (loyal - new) / terms.alpha if terms.alpha else None


def _mean(prices: Iterable[Decimal], runs: int) -> Decimal:
    return (sum(prices, Decimal()) / runs).quantize(_CENT)
