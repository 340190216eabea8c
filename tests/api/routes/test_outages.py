"""Outages of PostgreSQL: what is answered, and what the log says of the reason."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from core.bootstrap import Services
from tests.api.conftest import CheckedClient, Connect
from tests.api.routes.test_service import app_without, closed_port
from web import create_app

__all__ = ["closed_port"]

REGISTRATION = {"username": "eve", "email": "eve@example.com", "password": "a good password"}


@contextmanager
def database_set(engine: Engine, name: str, value: str) -> Iterator[None]:
    """New connections to the test's database have this setting meanwhile."""
    admin = create_engine(engine.url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        database = connection.scalar(text("SELECT quote_ident(current_database())"))
        connection.execute(text(f"ALTER DATABASE {database} SET {name} = '{value}'"))
        engine.dispose()
        try:
            yield
        finally:
            connection.execute(text(f"ALTER DATABASE {database} RESET {name}"))
            engine.dispose()
    admin.dispose()


def outages_in(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    events = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [event for event in events if event["event"] == "outage"]


def test_a_write_to_a_read_only_postgresql_is_answered_as_an_outage(
    anyone: CheckedClient,
    admin: CheckedClient,
    services: Services,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As after a failover to a standby that is not promoted yet."""
    with database_set(services.engine, "default_transaction_read_only", "on"):
        answers = [
            anyone.post("/api/auth/register", json=REGISTRATION),
            admin.post("/api/admin/products", json={"name": "Camera"}),
            admin.post("/api/auth/logout"),
        ]
        read, health = anyone.get("/api/sessions"), anyone.get("/health")
    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json["code"] for answer in answers} == {"temporarily_unavailable"}
    assert read.status_code == 200
    assert (health.status_code, health.json["database"]) == (503, "read_only")
    reasons = [outage["reason"] for outage in outages_in(caplog)]
    assert len(reasons) == len(answers)
    assert all(reason.startswith("25006 cannot execute INSERT") for reason in reasons)


def test_a_lock_that_is_not_free_in_time_is_an_outage(
    anyone: CheckedClient, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    with services.engine.begin() as holder, database_set(services.engine, "lock_timeout", "50ms"):
        holder.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        refused = anyone.post("/api/auth/register", json=REGISTRATION)
    assert (refused.status_code, refused.json["code"]) == (503, "temporarily_unavailable")
    [outage] = outages_in(caplog)
    assert outage["reason"].startswith("55P03 canceling statement due to lock timeout")


def test_an_outages_line_stands_once_and_has_its_reason_without_the_address(
    services: Services, closed_port: int, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(app_without(services, closed_port, "database"))
    # An application configures the log anew.
    logging.getLogger().addHandler(caplog.handler)
    assert client.get("/api/sessions").status_code == 503
    [outage] = outages_in(caplog)
    assert (outage["kind"], outage["reason"]) == ("OperationalError", "Connection refused")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        # In PostgreSQL's own words: whether there is such a role depends on how it authenticates.
        ({"postgres_user": "nobody_at_all"}, '"nobody_at_all"'),
        ({"postgres_db": "nothing_at_all"}, 'database "nothing_at_all" does not exist'),
    ],
)
def test_a_wrong_setting_is_told_apart_from_a_server_that_is_away(
    services: Services,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, str],
    reason: str,
) -> None:
    settings = replace(services.settings, **change)
    client = connect(create_app(settings))
    logging.getLogger().addHandler(caplog.handler)
    assert client.get("/api/sessions").status_code == 503
    [outage] = outages_in(caplog)
    assert reason in outage["reason"]
