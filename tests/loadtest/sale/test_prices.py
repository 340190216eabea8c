"""What members bid."""

from decimal import Decimal
from random import Random

from core.rules.scoring import Coefficients, score
from loadtest.sale import prices
from loadtest.sale.prices import PricingTerms

TERMS = PricingTerms(upset_price=100, alpha=0.5, beta=1000, gamma=2)


def test_the_price_for_a_score_earns_it() -> None:
    price = TERMS.price_for(700, t=9, weight=1.5)
    assert abs(score(Coefficients(0.5, 1000, 2), price, 9, 1.5) - 700) < 1e-9


def test_where_the_price_counts_for_nothing_the_upset_price_will_do() -> None:
    assert PricingTerms(100, 0, 1000, 2).price_for(700, t=9, weight=1) == 100


def test_a_raise_is_above_what_it_takes_and_in_whole_cents() -> None:
    random = Random(1)
    for _ in range(200):
        bid = prices.higher(random, needed=200, standing=Decimal(150), limit=1000)
        assert bid is not None
        assert bid > 200
        assert bid == bid.quantize(Decimal("0.01"))


def test_nobody_pays_more_than_the_item_is_worth_to_them() -> None:
    assert prices.higher(Random(1), needed=200, standing=Decimal(0), limit=199) is None


def test_scheduled_prices_are_admissible_and_rise() -> None:
    random = Random(1)
    early = [prices.scheduled(random, TERMS, 1, 60) for _ in range(100)]
    late = [prices.scheduled(random, TERMS, 59, 60) for _ in range(100)]
    assert min(early) >= 100
    assert sorted(late)[50] > sorted(early)[50]


def test_each_bidders_prices_rise_whatever_is_drawn() -> None:
    rising, random = prices.RisingPrices(), Random(1)
    last: dict[str, Decimal] = {}
    for _ in range(300):
        bidder, drawn = random.choice("abc"), Decimal(random.randint(100, 999)) / 100
        price = rising.raised(bidder, drawn)
        assert price == drawn or price == last[bidder] + prices.CENT
        assert price > last.get(bidder, Decimal(0))
        last[bidder] = price
    assert len(last) == 3


def test_a_price_does_not_rise_above_the_highest_that_a_bid_may_have() -> None:
    rising = prices.RisingPrices()
    assert (
        rising.raised("a", prices.MAX_PRICE) == rising.raised("a", Decimal(1)) == prices.MAX_PRICE
    )
