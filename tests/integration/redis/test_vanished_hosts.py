"""A host that vanished inside a transaction holds its locks for a while, not for hours.

To PostgreSQL it is a client that says nothing any more, which is what these tests make.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Connection, event, select, text
from sqlalchemy.orm import Session

from core import outages
from core.bootstrap import Services, bootstrap
from core.config import Settings
from core.notifications.outbox import Delivered, Outbox
from core.postgres.database import create_database_engine
from core.postgres.migrating import VANISHED_CLIENT, migrate, set_session_defaults
from core.postgres.models import BiddingSession, BidLogOffset, WebhookDelivery
from core.sessions.sessions import SessionView
from dev.stack import wait_until
from tests.support.factories import Shop

PATIENCE_SECONDS = 30
# The second makes a test fail that would wait for ever.
IMPATIENT = {
    "idle_in_transaction_session_timeout": "1s",
    "lock_timeout": f"{PATIENCE_SECONDS}s",
}
_LOCK = text("SELECT pg_advisory_xact_lock(1)")
_TURN_LOCK = 2


@pytest.fixture
def shop(empty_database: Settings, services: Services, clean: None) -> Iterator[Shop]:
    """A shop whose PostgreSQL waits a second for a silent client."""
    own = bootstrap(
        empty_database, password_hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    )
    migrate(own.engine)
    with own.engine.begin() as connection:
        set_session_defaults(connection, IMPATIENT)
    cut_off(services, empty_database)
    yield Shop(own)
    own.runtime.close()
    own.redis.close()
    own.engine.dispose()


def cut_off(services: Services, settings: Settings) -> None:
    """End all connections to a database, a pooler's too: new defaults are for new ones."""
    with services.engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000)"
                "  FROM pg_stat_activity WHERE datname = :database"
            ),
            {"database": settings.postgres_db},
        )


@contextmanager
def vanishing(shop: Shop) -> Iterator[Session]:
    """A transaction that PostgreSQL has ended before it would have been committed."""
    told = pytest.raises(outages.DATABASE, match="closed the connection")
    with told, shop.services.database.begin() as db:
        yield db


def outlast_the_limit(shop: Shop) -> None:
    """Return when PostgreSQL has ended a transaction that fell silent just now."""
    with vanishing(shop) as silent:
        silent.execute(_LOCK)
        with shop.services.database.begin() as db:
            db.execute(_LOCK)


def defaults(connection: Connection) -> dict[str, str]:
    """The settings that this role's connections to this database begin with."""
    found = connection.scalars(
        text(
            "SELECT unnest(setconfig) FROM pg_db_role_setting s"
            "  JOIN pg_database d ON d.oid = s.setdatabase JOIN pg_roles r ON r.oid = s.setrole"
            " WHERE datname = current_database() AND rolname = session_user"
        )
    )
    return dict(setting.split("=", 1) for setting in found)


def session_with_bids(shop: Shop, bids: int) -> SessionView:
    session = shop.session()
    for _ in range(bids):
        shop.bid(shop.bidder(), session, "120")
    return session


# --- What is in force ------------------------------------------------------------------


def test_a_release_bounds_the_silence_of_every_connection_after_it(
    empty_database: Settings, services: Services
) -> None:
    engine = create_database_engine(empty_database)
    migrate(engine)
    cut_off(services, empty_database)
    with engine.begin() as connection:
        assert defaults(connection) == VANISHED_CLIENT
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "1min"
    engine.dispose()


def test_a_role_without_rights_may_set_its_own_defaults(services: Services) -> None:
    with services.engine.connect() as connection:
        connection.execute(text("CREATE ROLE flashbid_test_ordinary"))
        connection.execute(text("SET LOCAL SESSION AUTHORIZATION flashbid_test_ordinary"))
        set_session_defaults(connection, VANISHED_CLIENT)
        assert defaults(connection) == VANISHED_CLIENT
        connection.rollback()


# --- Whose locks are free again --------------------------------------------------------


def test_a_drain_goes_on_when_a_host_vanished_in_its_transaction(shop: Shop) -> None:
    session = session_with_bids(shop, 3)
    with vanishing(shop) as drain:
        drain.execute(select(BidLogOffset).with_for_update())
        shop.services.bid_log.persist_through(session.session_id, 3, seconds=PATIENCE_SECONDS)
    assert len(shop.rows("SELECT sequence FROM bids")) == 3


def test_a_close_goes_on_when_a_host_vanished_with_the_session_locked(shop: Shop) -> None:
    session = session_with_bids(shop, 3)
    shop.end(session)
    with vanishing(shop) as request:
        request.execute(select(BiddingSession).with_for_update())
        # Until then it leaves at once, and the next tick tries again.
        assert not shop.services.closing.close(session.session_id)
        assert wait_until(lambda: shop.services.closing.close(session.session_id), PATIENCE_SECONDS)
    assert len(shop.rows("SELECT rank FROM rankings")) == 3


# --- What may be silent for longer -----------------------------------------------------


def test_a_send_may_take_longer_and_its_turn_with_it(shop: Shop) -> None:
    session = shop.session()
    with shop.services.database.begin() as db:
        db.add(WebhookDelivery(session_id=session.session_id, event="session.ended"))
    outbox = Outbox(shop.services.database, WebhookDelivery, retry_delays=(), turn_lock=_TURN_LOCK)
    delivered = outbox.deliver(lambda *_: outlast_the_limit(shop), seconds=PATIENCE_SECONDS)
    assert delivered == Delivered(attempts=1, unfinished=False)
    assert len(shop.rows("SELECT FROM webhook_deliveries WHERE delivered_at IS NOT NULL")) == 1


def test_verifying_may_take_longer(shop: Shop) -> None:
    session = session_with_bids(shop, 3)

    def read_slowly(_: Connection, __: Any, statement: str, *___: Any) -> None:
        if "FROM rankings" in statement:
            outlast_the_limit(shop)

    event.listen(shop.services.engine, "before_cursor_execute", read_slowly)
    checks = shop.services.audit.verify(session.session_id)
    assert [check.differences for check in checks] == [0] * len(checks)
