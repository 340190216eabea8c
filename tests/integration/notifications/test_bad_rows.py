"""A delivery that cannot be made fails alone: the others go out, and it is counted."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from core.notifications.announcing import Announcing
from core.notifications.outbox import DeliveryFailed, Outbox
from core.postgres.models import EmailDelivery
from tests.support.factories import Shop

HOURS = timedelta(hours=9)
Send = Callable[[Session, EmailDelivery], None]


@pytest.fixture
def deliveries(shop: Shop) -> list[UUID]:
    """Five e-mails that are due, in the order in which they are sent."""
    session = shop.session(inventory=1, alpha=1.0, beta=0.0, gamma=0.0)
    for number in range(5):
        shop.bid(shop.bidder(), session, str(150 - number))
    shop.close(session)
    Announcing(shop.services.database, by_email=True).announce(session.session_id, seconds=30)
    with shop.services.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE email_deliveries SET next_attempt_at = now() - interval '1 minute' * number"
                " FROM (SELECT notification_id AS id, row_number() OVER () AS number"
                "         FROM email_deliveries) numbered"
                " WHERE notification_id = id"
            )
        )
    return [
        row[0]
        for row in shop.rows(
            "SELECT notification_id FROM email_deliveries ORDER BY next_attempt_at"
        )
    ]


def raising(error: BaseException) -> Send:
    def send(db: Session, delivery: EmailDelivery) -> None:
        raise error

    return send


def failing_statement(statement: str) -> Send:
    def send(db: Session, delivery: EmailDelivery) -> None:
        db.execute(text(statement))

    return send


def broken_row(db: Session, delivery: EmailDelivery) -> None:
    """What the sending wrote into the row cannot be stored."""
    delivery.attempts = 10**12


def swallowed_error(db: Session, delivery: EmailDelivery) -> None:
    """The transaction is unusable, and nobody said so."""
    with suppress(DataError):
        db.execute(text("SELECT 1 / 0"))


BROKEN = {
    "a bug": raising(AttributeError("'NoneType' object has no attribute 'email'")),
    "text that cannot be encoded": raising(UnicodeEncodeError("ascii", "é", 0, 1, "no")),
    "a lookup": raising(LookupError("unknown encoding")),
    "too deep": raising(RecursionError()),
    "no memory": raising(MemoryError()),
    "an endless reason": raising(DeliveryFailed("x" * 10_000)),
    "an assertion": raising(AssertionError()),
    "a division in SQL": failing_statement("SELECT 1 / 0"),
    "a statement that is cancelled": failing_statement(
        "SELECT pg_cancel_backend(pg_backend_pid())"
    ),
    "a connection that is ended": failing_statement(
        "SELECT pg_terminate_backend(pg_backend_pid())"
    ),
    "a row that cannot be stored": broken_row,
    "a broken transaction": swallowed_error,
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_delivery_with_any_fault_fails_alone(
    shop: Shop, deliveries: list[UUID], fault: str
) -> None:
    outbox = Outbox(shop.services.database, EmailDelivery, retry_delays=(HOURS,), turn_lock=1)
    first, *others = deliveries
    sent = []

    def send(db: Session, delivery: EmailDelivery) -> None:
        if delivery.id == first:
            BROKEN[fault](db, delivery)
        sent.append(delivery.id)

    outbox.deliver(send, seconds=600)

    assert [delivery for delivery in sent if delivery != first] == others
    [(attempts, last_error, is_waiting, is_delivered)] = of(shop, first)
    assert (attempts, is_waiting, is_delivered) == (1, True, False)
    assert 0 < len(last_error) <= 100
    for other in others:
        assert of(shop, other) == [(1, None, False, True)]


def test_a_fault_that_lasts_is_given_up(shop: Shop, deliveries: list[UUID]) -> None:
    outbox = Outbox(
        shop.services.database, EmailDelivery, retry_delays=(timedelta(0),) * 2, turn_lock=1
    )
    outbox.deliver(raising(TypeError()), seconds=600)
    assert shop.rows("SELECT DISTINCT attempts, last_error FROM email_deliveries") == [
        (3, "TypeError")
    ]
    assert outbox.backlog().given_up == len(deliveries)


def test_a_row_that_another_holds_does_not_stop_the_rest(
    shop: Shop, deliveries: list[UUID]
) -> None:
    outbox = Outbox(shop.services.database, EmailDelivery, retry_delays=(HOURS,), turn_lock=1)
    with shop.services.database.begin() as db:
        db.execute(
            text("SELECT 1 FROM email_deliveries WHERE notification_id = :id FOR UPDATE"),
            {"id": deliveries[0]},
        )
        done = outbox.deliver(lambda *_: None, seconds=30)
    assert (done.attempts, done.unfinished) == (len(deliveries) - 1, False)


def of(shop: Shop, delivery_id: UUID) -> list[tuple[Any, ...]]:
    return shop.rows(
        "SELECT attempts, last_error, next_attempt_at IS NOT NULL, delivered_at IS NOT NULL"
        "  FROM email_deliveries WHERE notification_id = :id",
        id=delivery_id,
    )
