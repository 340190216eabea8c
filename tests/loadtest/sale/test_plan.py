"""The knobs."""

from argparse import ArgumentParser

import pytest

from loadtest.errors import LoadTestError
from loadtest.sale.plan import LoadPlan, add_options, plan_from_options


def parsed(*arguments: str) -> LoadPlan:
    parser = ArgumentParser()
    add_options(parser)
    return plan_from_options(parser.parse_args(arguments))


def test_every_knob_has_a_default() -> None:
    assert parsed() == LoadPlan()


def test_a_plan_survives_the_way_through_a_command_line() -> None:
    plan = LoadPlan(members=321, peak=12.5, duration=7.25, alpha=0.1, beta=1e15, gamma=0, seed=9)
    assert parsed(*plan.options()) == plan


def test_more_bids_than_the_rate_limit_allows_are_refused() -> None:
    with pytest.raises(LoadTestError, match="at least 200 members"):
        LoadPlan(members=100, peak=1000)


@pytest.mark.parametrize(
    "wrong", [{"members": 0}, {"duration": 0}, {"upset_price": -1}, {"beta": float("nan")}]
)
def test_a_knob_out_of_bounds_is_named(wrong: dict[str, float]) -> None:
    [name] = wrong
    with pytest.raises(LoadTestError, match=f"--{name.replace('_', '-')} must be between"):
        LoadPlan(**wrong)


def test_the_pace_makes_all_members_together_reach_the_peak() -> None:
    assert LoadPlan(members=500, peak=250).pace_seconds == 2.0
