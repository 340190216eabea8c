"""What the bid log accepts as a bid, and how it is written to PostgreSQL."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from core.bidlog.entries import LoggedBid

SESSION = UUID("11111111-1111-4111-8111-111111111111")
USER = UUID("22222222-2222-4222-8222-222222222222")
FIELDS = {
    "user_id": str(USER),
    "price": "120.5",
    "score": "1060.3333333333333",
    "response_time": "0.25",
    "weight": "1.25",
    "accepted_at": "1767268800000001",
}


def parse(entry_id: str = "7-0", **changes: str) -> LoggedBid:
    return LoggedBid.parse(SESSION, (entry_id, FIELDS | changes))


def test_an_entry_of_the_script_is_a_bid() -> None:
    assert parse() == LoggedBid(
        session_id=SESSION,
        sequence=7,
        user_id=USER,
        price=Decimal("120.50"),
        score="1060.3333333333333",
        response_time="0.25",
        weight="1.25",
        accepted_at=datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC),
    )


def test_a_bid_is_written_to_the_microsecond_and_to_the_last_digit() -> None:
    assert parse().copy_line() == (
        f"{SESSION}\t7\t{USER}\t120.50\t1060.3333333333333\t0.25\t1.25"
        "\t2026-01-01T12:00:00.000001+00:00\n"
    )


@pytest.mark.parametrize("digits", ["0.1", "1060.3333333333333", "1e-06", "5e-324", "1.7e+308"])
def test_no_bit_of_a_score_is_lost(digits: str) -> None:
    assert float(parse(score=digits).score).hex() == float(digits).hex()


@pytest.mark.parametrize("name", FIELDS)
def test_an_entry_without_one_of_its_fields_is_refused(name: str) -> None:
    fields = {key: value for key, value in FIELDS.items() if key != name}
    with pytest.raises(ValueError, match=name):
        LoggedBid.parse(SESSION, ("7-0", fields))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_id", "nobody"),
        ("price", "free"),
        ("price", "NaN"),
        ("price", "Infinity"),
        ("price", "0"),
        ("price", "-1"),
        ("price", "10000000000.00"),
        ("score", "nan"),
        ("score", "inf"),
        ("response_time", "-inf"),
        ("response_time", "soon"),
        ("weight", ""),
        ("accepted_at", "1.5"),
        ("accepted_at", "9" * 30),
    ],
)
def test_a_field_that_postgresql_could_not_keep_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError):
        parse(**{name: value})


def test_an_entry_whose_id_is_no_sequence_is_refused() -> None:
    with pytest.raises(ValueError):
        parse(entry_id="seven-0")
