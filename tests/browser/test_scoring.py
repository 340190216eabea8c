"""The page computes what core computes, to the last bit."""

from collections.abc import Callable
from random import Random
from types import SimpleNamespace

from core.scoring import score
from tests.browser.visitor import Visitor

CASES = 500
SCRIPT = """async (cases) => {
  const { score, priceToPass } = await import("/board/scoring.js");
  return cases.map(([terms, price, seconds, weight, target]) => [
    score(terms, price, seconds, weight), priceToPass(terms, seconds, weight, target)]);
}"""


def test_score_and_price_to_pass_agree_with_core(visit: Callable[..., Visitor]) -> None:
    chance = Random(5)
    cases = [
        (
            {
                "alpha": chance.random() + 0.01,
                "beta": chance.random() * 1000,
                "gamma": 2.0,
                "upset_price": 100.0,
            },
            chance.randrange(10_000, 10_000_000) / 100,
            chance.randrange(10**9) / 1_000_000,
            chance.random() * 5,
            chance.random() * 10_000,
        )
        for _ in range(CASES)
    ]
    answers = visit().go().page.evaluate(SCRIPT, cases)
    for (terms, price, seconds, weight, target), (scored, needed) in zip(
        cases, answers, strict=True
    ):
        own = SimpleNamespace(**terms)
        assert scored == score(own, price, seconds, weight)
        assert score(own, needed, seconds, weight) > target
        one_cent_less = (round(needed * 100) - 1) / 100
        assert needed == 100 or score(own, one_cent_less, seconds, weight) <= target
