"""The page computes what core computes, to the last bit."""

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from core.rules.scoring import score
from tests.browser.visitor import Visitor

CASES = 500
SCRIPT = """async (cases) => {
  const { score, priceToPass } = await import("/board/lib/scoring.js");
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


STEP = """async ([own, entries]) => {
  const { nextStep } = await import("/board/lib/scoring.js");
  const terms = { alpha: 1, beta: 0, gamma: 0, upset_price: 100, inventory: 100 };
  const leaderboard = [...Array(entries).keys()].map((at) => ({ rank: at + 1, score: 1000 - at }));
  return nextStep(terms, { leaderboard, total_count: 200, threshold_score: 901 }, own, 1, 1);
}"""


@pytest.mark.parametrize(
    ("own", "step"),
    [
        ({"rank": 1, "price": 1000}, None),
        ({"rank": 2, "price": 999}, None),
        ({"rank": 100, "price": 901}, None),
        ({"rank": 101, "price": 900}, {"rank": 100, "price": 901.01}),
        ({"rank": 150, "price": 851}, {"rank": 100, "price": 901.01}),
        (None, {"rank": 100, "price": 901.01}),
    ],
)
def test_next_step_is_the_last_winning_place_and_winners_have_none(
    visit: Callable[..., Visitor], own: Any, step: Any
) -> None:
    assert visit().go().page.evaluate(STEP, [own, 50]) == step


RANKS = """async ([points, total]) => {
  const { rankOf } = await import("/board/lib/scoring.js");
  const leaderboard = [90, 80, 80, 70].map((score, at) => ({ user_id: "abcd"[at], score }));
  return points.map((each) => rankOf({ leaderboard, total_count: total }, "b", each));
}"""


def test_rank_of_a_score_is_behind_equal_ones_and_unknown_below_the_listed(
    visit: Callable[..., Visitor],
) -> None:
    page = visit().go().page
    points = [95, 90, 85, 80, 75, 70]
    assert page.evaluate(RANKS, [points, 4]) == [1, 2, 2, 3, 3, 4]
    assert page.evaluate(RANKS, [points, 60]) == [1, 2, 2, 3, 3, None]
