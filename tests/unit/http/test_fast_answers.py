"""Accepted bids are answered byte for byte as their schema would answer them."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.bidding.placing import PlacedBid
from core.rules.scoring import MAX_PRICE
from web.http import schemas
from web.http.fast_json import write_placed
from web.http.responses import encode

MANY = settings(
    max_examples=500,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


finite = st.floats(allow_nan=False, allow_infinity=False)
scores = (
    finite
    | st.integers(-30, 30).map(lambda exponent: 10.0**exponent)
    | st.sampled_from([0.0, -0.0, 1e-4, 9.999e-5, 1e15, 1e16, 9999999999999998.0, 5e-324, 1.5e300])
    | st.integers(0, 10**17).map(float)
)
placed_bids = st.builds(
    PlacedBid,
    session_id=st.uuids(),
    sequence=st.integers(0, 2**63 - 1),
    price=st.decimals("0.01", MAX_PRICE, places=2),
    score=scores,
    rank=st.integers(1, 10**9),
    response_time=scores,
    user_weight=scores,
    is_winning=st.booleans(),
    accepted_at=st.datetimes(timezones=st.just(UTC)),
    replayed=st.booleans(),
    drain_due=st.booleans(),
)
A_BID = PlacedBid(
    session_id=UUID("0f8fad5b-d9cb-469f-a165-70867728950e"),
    sequence=1,
    price=Decimal("250.25"),
    score=1e22,
    rank=1,
    response_time=0.00001,
    user_weight=-0.0,
    is_winning=True,
    accepted_at=datetime(2030, 1, 31, 18, tzinfo=UTC),
    replayed=False,
)


@MANY
@given(placed_bids)
@example(A_BID)
def test_an_answer_has_the_schemas_bytes(placed: PlacedBid) -> None:
    assert write_placed(placed) == encode(schemas.PlacedBid().dump(placed))
