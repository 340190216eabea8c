"""Past sessions simulated anew: under their own terms they end as they ended."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core import errors
from core.rules.pricing import Pricing
from core.rules.simulation import USUAL_CROWD, Simulation
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

MEMBERS = 6
# Who bids how much next; most members bid more than once.
offers = st.lists(
    st.tuples(st.integers(0, MEMBERS - 1), st.integers(1, 500_00)), min_size=1, max_size=12
)
terms = st.fixed_dictionaries(
    {
        "alpha": st.floats(0.01, 10),
        "beta": st.floats(0, 1e4),
        "gamma": st.floats(0, 100),
        "inventory": st.integers(1, MEMBERS),
    }
)


def sold(shop: Shop, bids: list[tuple[int, int]], **terms: Any) -> SessionView:
    """A closed session in which members have raised their prices by these cents."""
    session = shop.session(pricing=Pricing.SECOND_SCORE.value, **terms)
    members, prices = shop.crowd(MEMBERS), [Decimal("100.00")] * MEMBERS
    for member, cents in bids:
        prices[member] += Decimal(cents) / 100
        shop.bid(members[member], session, prices[member])
    assert shop.close(session)
    return session


def again(shop: Shop, session: SessionView, **changes: Any) -> Simulation:
    return shop.services.simulations.of_session(session.session_id, changes)


def stored(shop: Shop, session: SessionView) -> list[tuple[Any, ...]]:
    return shop.rows(
        "SELECT rank, sequence, price, score FROM rankings WHERE session_id = :id ORDER BY rank",
        id=session.session_id,
    )


@settings(
    max_examples=25,
    deadline=None,
    # Each example sells something on real servers: a failing one is small enough as it is.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(bids=offers, terms=terms)
def test_a_past_session_ends_as_it_ended(
    shop: Shop, bids: list[tuple[int, int]], terms: dict[str, Any]
) -> None:
    session = sold(shop, bids, **terms)
    found = again(shop, session)
    assert stored(shop, session) == [
        (place.rank, place.sequence, place.price, place.score) for place in found.places
    ]
    results = shop.services.results.get(session.session_id, page=1, page_size=MEMBERS)
    assert [entry.is_winner for entry in results.rankings] == [
        place.is_winner for place in found.places
    ]
    # Of members whom PostgreSQL does not know none is offered an item, so prices are the close's.
    written = shop.rows(
        "SELECT price_to_pay FROM rankings WHERE session_id = :id AND price_to_pay IS NOT NULL"
        " ORDER BY rank",
        id=session.session_id,
    )
    assert [price for (price,) in written] == [
        place.second_price for place in found.places if place.is_winner
    ]
    assert found.revenue_second_score == sum(price for (price,) in written)


def test_results_of_older_versions_are_simulated_from_their_bids(shop: Shop) -> None:
    session = sold(shop, [(0, 1), (1, 2), (2, 3)])
    before = again(shop, session)
    with shop.services.engine.begin() as db:
        db.exec_driver_sql("UPDATE rankings SET response_time = NULL, weight = NULL")
    assert again(shop, session) == before


def test_other_terms_end_otherwise(shop: Shop) -> None:
    session = sold(shop, [(0, 100), (1, 5000)], alpha=0.0, beta=1000.0, gamma=0.0)
    assert [place.sequence for place in again(shop, session).places] == [1, 2]
    by_price = again(shop, session, alpha=1.0, beta=0.0)
    assert [place.sequence for place in by_price.places] == [2, 1]
    assert by_price.terms.upset_price == session.upset_price
    dearer = again(shop, session, upset_price=Decimal("120.00"))
    assert (dearer.bids, dearer.refused) == (1, 1)


def test_only_final_results_are_simulated(shop: Shop) -> None:
    session = shop.session()
    with pytest.raises(errors.SessionNotEnded):
        again(shop, session)
    shop.end(session)
    with pytest.raises(errors.ResultsPending):
        again(shop, session)


def test_work_is_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    session = sold(shop, [(0, 1), (1, 2), (2, 3)])
    monkeypatch.setattr("core.operations.simulations.MAX_BIDS", 2)
    with pytest.raises(errors.InvalidTerms, match="more than 2 bidders"):
        again(shop, session)
    with pytest.raises(errors.InvalidTerms, match="bidders times runs"):
        shop.services.simulations.of_crowd({}, replace(USUAL_CROWD, bidders=3, runs=1))


def test_scores_that_cannot_tell_cents_are_not_simulated(shop: Shop) -> None:
    session = shop.session(duration=timedelta(minutes=5))
    shop.close(session)
    with pytest.raises(errors.InvalidTerms, match="one cent apart"):
        again(shop, session, beta=1e15)
