"""Sequences that were given out twice: each bid is found where the service says it went."""

from dataclasses import replace

import pytest

from drill import judge
from loadtest.ledger.ledger import Attempt
from loadtest.ledger.verify import verify
from tests.loadtest.conftest import Sold
from tests.loadtest.ledger.test_verify import broken_rules, case_of

# The bids with these sequences were told another's, in two rewinds of Redis.
MOVED = (8, 9)
TOLD = 3


def tell_twice(sold: Sold) -> None:
    """Let the last bids be answered with a sequence and rank of a Redis that had forgotten some."""
    sold.rewrite([_retold(attempt) for attempt in sold.attempts])


def _retold(attempt: Attempt) -> Attempt:
    return replace(attempt, sequence=TOLD, rank=1) if attempt.sequence in MOVED else attempt


def record_rewinds(sold: Sold, *moved: int) -> None:
    for sequence in moved:
        sold.sql(
            "INSERT INTO session_events (session_id, kind, details) VALUES (%(session)s,"
            " 'redis_rewound', jsonb_build_object('moved', jsonb_build_object(%(id)s, %(to)s)))",
            id=f"{TOLD}-0",
            to=sequence,
        )


def test_bids_that_were_moved_are_the_ones_that_were_answered(sold: Sold) -> None:
    tell_twice(sold)
    record_rewinds(sold, *MOVED)
    case = case_of(sold)
    assert broken_rules(verify("any", case)) == set()
    assert judge._lost(case) == set()


@pytest.mark.parametrize("recorded", [(), MOVED[:1]])
def test_a_bid_that_was_moved_without_a_record_is_lost(
    sold: Sold, recorded: tuple[int, ...]
) -> None:
    tell_twice(sold)
    record_rewinds(sold, *recorded)
    case = case_of(sold)
    assert "every confirmed bid is stored as answered" in broken_rules(verify("any", case))
    assert judge._lost(case) == {TOLD}


def test_a_moved_bid_that_is_gone_is_lost(sold: Sold) -> None:
    tell_twice(sold)
    record_rewinds(sold, *MOVED)
    sold.sql("DELETE FROM bids WHERE session_id = %(session)s AND sequence = 9")
    assert judge._lost(case_of(sold)) == {TOLD}
