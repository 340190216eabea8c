"""Simulated sales, by the rules that decide real ones."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rules.pricing import OrderTerms, Pricing, RankedBid, price_to_pay, rival_rank
from core.rules.scoring import SaleTerms, score, terms_of
from core.rules.simulation import (
    MAX_PLACES,
    USUAL_CROWD,
    USUAL_TERMS,
    SimulatedBid,
    crowd_runs,
    loyalty_worth,
    ranking,
    second_worth,
    simulate,
)

HOUR = 3600.0
BY_PRICE = replace(USUAL_TERMS, alpha=1.0, beta=0.0, gamma=0.0, inventory=2)
bids = st.lists(
    st.tuples(st.integers(90_00, 400_00), st.floats(0, HOUR), st.floats(1, 5)), max_size=30
).map(
    lambda drawn: [
        SimulatedBid(sequence, Decimal(cents) / 100, waited, weight)
        for sequence, (cents, waited, weight) in enumerate(drawn, start=1)
    ]
)
all_terms = st.builds(
    lambda alpha, beta, gamma, inventory: replace(
        USUAL_TERMS, alpha=alpha, beta=beta, gamma=gamma, inventory=inventory
    ),
    st.floats(0.01, 10),
    st.floats(0, 1e4),
    st.floats(0, 100),
    st.integers(1, 8),
)


def bid(sequence: int, price: str, waited: float = 1.0, weight: float = 1.0) -> SimulatedBid:
    return SimulatedBid(sequence, Decimal(price), waited, weight)


@given(terms=all_terms, bids=bids)
def test_ranks_follow_the_scores_and_the_sequence_alone(
    terms: SaleTerms, bids: list[SimulatedBid]
) -> None:
    places = ranking(terms, bids)
    allowed = {each.sequence: each for each in bids if each.price >= terms.upset_price}
    assert {place.sequence for place in places} == set(allowed)
    assert [place.rank for place in places] == list(range(1, len(places) + 1))
    for better, worse in pairwise(places):
        assert (better.score, -better.sequence) > (worse.score, -worse.sequence)
    for place in places:
        own = allowed[place.sequence]
        assert place.score == score(terms, own.price, own.response_time, own.weight)
        assert place.is_winner == (place.rank <= terms.inventory)


@given(terms=all_terms, bids=bids)
def test_winners_pay_what_the_rule_of_prices_says(
    terms: SaleTerms, bids: list[SimulatedBid]
) -> None:
    places = ranking(terms, bids)
    paying = OrderTerms(**terms_of(terms), pricing=Pricing.SECOND_SCORE.value)
    ranked = {
        each.rank: RankedBid(each.sequence, each.price, each.score, each.response_time, each.weight)
        for each in places
    }
    for place in places:
        rival = ranked.get(rival_rank(place.rank, terms.inventory))
        due = price_to_pay(paying, ranked[place.rank], rival) if place.is_winner else None
        assert place.second_price == due


@given(terms=all_terms, waited=st.floats(0, 600))
def test_a_second_is_worth_the_price_that_makes_up_for_it(terms: SaleTerms, waited: float) -> None:
    higher = 100 + second_worth(terms, waited)
    assert score(terms, higher, waited + 1, 1) == pytest.approx(score(terms, 100, waited, 1))
    loyal = 100 + loyalty_worth(terms)
    assert score(terms, loyal, waited, 1) == pytest.approx(score(terms, 100, waited, 5))


def test_nothing_is_worth_money_where_prices_do_not_count() -> None:
    found = simulate(replace(USUAL_TERMS, alpha=0.0), crowd_runs(USUAL_CROWD), HOUR)
    assert found.loyalty_worth is None
    assert {second.worth for second in found.second_worth} == {None}


def test_all_runs_are_summed_up() -> None:
    runs = [
        [bid(1, "150"), bid(2, "120"), bid(3, "110"), bid(4, "99.99")],
        [bid(1, "200")],
        [],
    ]
    found = simulate(BY_PRICE, runs, HOUR)
    assert (found.runs, found.bids, found.refused, found.winners) == (3, 4, 1, 3)
    assert (found.highest_bid_losses, found.underbid_winners) == (0, 0)
    assert found.revenue_as_bid == Decimal("156.67")
    # 110.00, since both came before the loser, and the starting price.
    assert found.revenue_second_score == Decimal("106.67")
    assert [place.sequence for place in found.places] == [1, 2, 3]


def test_the_highest_price_loses_to_speed() -> None:
    by_speed = replace(USUAL_TERMS, inventory=2)
    early, middle, late = bid(1, "100", 0.0), bid(2, "180", 1.0), bid(3, "170", 60.0)
    found = simulate(by_speed, [[early, middle, late]], HOUR)
    assert (found.highest_bid_losses, found.underbid_winners) == (0, 1)
    found = simulate(by_speed, [[early, middle, replace(late, price=Decimal(190))]], HOUR)
    assert (found.highest_bid_losses, found.underbid_winners) == (1, 2)


def test_moments_are_within_the_session() -> None:
    found = simulate(USUAL_TERMS, [[]], 10.0)
    assert [second.response_time for second in found.second_worth] == [0.0, 1.0, 5.0]


def test_the_same_seed_makes_the_same_crowd() -> None:
    assert crowd_runs(USUAL_CROWD) == crowd_runs(USUAL_CROWD)
    assert crowd_runs(USUAL_CROWD) != crowd_runs(replace(USUAL_CROWD, seed=2))


def test_a_crowd_is_as_it_was_asked_for() -> None:
    crowd = replace(USUAL_CROWD, bidders=1000, runs=2, late_share=0.3, largest_weight=3.0)
    runs = crowd_runs(crowd)
    assert len(runs) == 2
    for bids in runs:
        assert [each.sequence for each in bids] == list(range(1, 1001))
        assert sorted(each.response_time for each in bids) == [each.response_time for each in bids]
        assert sum(each.response_time >= 0.9 * HOUR for each in bids) == 300
        assert all(0 <= each.response_time <= HOUR for each in bids)
        assert all(crowd.lowest_price <= each.price <= crowd.highest_price for each in bids)
        assert all(1 <= each.weight <= 3 for each in bids)


def test_a_result_shows_a_bounded_number_of_places() -> None:
    runs = crowd_runs(replace(USUAL_CROWD, bidders=MAX_PLACES + 1, runs=1))
    found = simulate(USUAL_TERMS, runs, HOUR)
    assert (found.bids, len(found.places)) == (MAX_PLACES + 1, MAX_PLACES)
