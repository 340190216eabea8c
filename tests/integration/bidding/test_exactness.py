"""Redis, Python and PostgreSQL score every bid alike, to the last bit."""

from collections.abc import Iterator
from decimal import Decimal
from random import Random

from core.bidding.placing import PlacedBid
from core.redis import clock, keys
from core.rules import scoring
from core.rules.scoring import Coefficients
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

SCORED_DIFFERENTLY = """
    SELECT count(*)
      FROM bids b JOIN sessions s ON s.id = b.session_id
     WHERE b.score IS DISTINCT FROM
           s.alpha * b.price::float8 + s.beta / (b.response_time + 1) + s.gamma * b.weight
"""


def random_bids(
    shop: Shop, *, sessions: int, bidders: int
) -> Iterator[tuple[SessionView, PlacedBid]]:
    """Bids over random terms, prices, weights and response times."""
    random = Random(4_275)
    members = [shop.bidder() for _ in range(bidders)]
    for member in members:
        weight = repr(random.uniform(1, 5))
        shop.services.redis.set(keys.user_weight(member.user_id), weight)
    for _ in range(sessions):
        coefficients = [random.choice([0, random.random(), random.uniform(0, 1e5)]) for _ in "abg"]
        alpha, beta, gamma = coefficients
        session = shop.session(
            upset_price=Decimal("0.01"), alpha=alpha, beta=beta, gamma=gamma, inventory=1
        )
        earlier = random.randrange(10 ** random.randint(1, 12))
        shop.services.redis.hincrby(keys.session_params(session.session_id), "start", -earlier)
        for member in members:
            cents = random.randint(1, 10 ** random.randint(1, 12) - 1)
            yield session, shop.bid(member, session, Decimal(cents) / 100)


def test_python_recomputes_every_score_bit_for_bit(shop: Shop) -> None:
    for session, placed in random_bids(shop, sessions=25, bidders=4):
        terms = Coefficients(session.alpha, session.beta, session.gamma)
        expected = scoring.score(terms, placed.price, placed.response_time, placed.user_weight)
        assert placed.score.hex() == expected.hex()


def test_python_recomputes_every_response_time_bit_for_bit(shop: Shop) -> None:
    for session, placed in random_bids(shop, sessions=10, bidders=2):
        start = shop.services.redis.hget(keys.session_params(session.session_id), "start")
        accepted_at = clock.to_microseconds(placed.accepted_at)
        expected = scoring.response_time(accepted_at, int(start))
        assert placed.response_time.hex() == expected.hex()


def test_postgresql_recomputes_every_score_bit_for_bit(shop: Shop) -> None:
    sessions = {
        session.session_id: session for session, _ in random_bids(shop, sessions=25, bidders=4)
    }
    assert sum(shop.drain(session) for session in sessions.values()) == 100
    assert shop.rows(SCORED_DIFFERENTLY) == [(0,)]


def test_the_check_notices_a_score_that_is_one_bit_off(shop: Shop) -> None:
    [(session, _)] = random_bids(shop, sessions=1, bidders=1)
    shop.drain(session)
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE bids SET score = score + score * 2.3e-16::float8")
    assert shop.rows(SCORED_DIFFERENTLY) == [(1,)]


def test_postgresql_keeps_what_the_member_was_told(shop: Shop) -> None:
    told = [(session, placed) for session, placed in random_bids(shop, sessions=10, bidders=3)]
    for session, _ in told:
        shop.drain(session)
    kept = shop.rows(
        "SELECT session_id, sequence, price, score, response_time, weight, accepted_at FROM bids"
    )
    assert set(kept) == {
        (
            bid.session_id,
            bid.sequence,
            bid.price,
            bid.score,
            bid.response_time,
            bid.user_weight,
            bid.accepted_at,
        )
        for _, bid in told
    }
    assert len(kept) == 30
