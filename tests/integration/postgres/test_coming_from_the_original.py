"""The statements of docs/how-to/coming-from-the-original.md, on tables of the original's form."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from core import errors
from core.config import PROJECT_ROOT
from tests.support.factories import Shop

PAGE = (PROJECT_ROOT / "docs" / "how-to" / "coming-from-the-original.md").read_text()
[STATEMENTS] = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ENDED = datetime(2025, 5, 1, 12, tzinfo=UTC)
TABLES = """
CREATE SCHEMA original;
CREATE TABLE original.users (
    id uuid PRIMARY KEY, username varchar(50) UNIQUE, email varchar(100) UNIQUE,
    password varchar(255), is_admin boolean, weight double precision,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE original.bidding_products (
    id uuid PRIMARY KEY, name varchar(200), description varchar(1000), admin_id uuid,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE original.bidding_sessions (
    id uuid PRIMARY KEY, admin_id uuid, product_id uuid, upset_price double precision,
    final_price double precision, inventory integer, alpha double precision,
    beta double precision, gamma double precision, start_time timestamptz,
    end_time timestamptz, duration interval, is_active boolean,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE original.bidding_session_bids (
    id uuid PRIMARY KEY, session_id uuid, user_id uuid, bid_price double precision,
    bid_score double precision,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
"""
BCRYPT_HASH = "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
SESSION, RUNNING, PRODUCT = uuid4(), uuid4(), uuid4()
USERS = {name: uuid4() for name in ("shop", "ada", "bob", "eve")}
BIDS = {"ada": (250.5, 300.25), "bob": (310, 200.5), "eve": (300, 300.25)}


@pytest.fixture
def moved(shop: Shop) -> Iterator[Shop]:
    """A shop after the move."""
    try:
        with shop.services.engine.begin() as connection:
            connection.exec_driver_sql(TABLES)
            for name, user_id in USERS.items():
                connection.execute(
                    text(
                        "INSERT INTO original.users VALUES (:id, :name, :mail, :hash, :admin, 1.7)"
                    ),
                    {
                        "id": user_id,
                        "name": name,
                        "mail": f"{name}@example.com",
                        "hash": BCRYPT_HASH,
                        "admin": name == "shop",
                    },
                )
            connection.execute(
                text("INSERT INTO original.bidding_products VALUES (:id, 'Lamp', NULL, :admin)"),
                {"id": PRODUCT, "admin": USERS["shop"]},
            )
            for session_id, end in ((SESSION, ENDED), (RUNNING, datetime.now(UTC) + timedelta(1))):
                connection.execute(
                    text(
                        "INSERT INTO original.bidding_sessions VALUES (:id, :admin, :product, 200,"
                        " 250.5, 2, 0.5, 1000, 2, :start, :end, '1 hour', true)"
                    ),
                    {
                        "id": session_id,
                        "admin": USERS["shop"],
                        "product": PRODUCT,
                        "start": end - timedelta(hours=1),
                        "end": end,
                    },
                )
            for second, (name, (price, score)) in enumerate(BIDS.items()):
                connection.execute(
                    text(
                        "INSERT INTO original.bidding_session_bids"
                        " VALUES (:id, :session, :user, :price, :score, :at)"
                    ),
                    {
                        "id": uuid4(),
                        "session": SESSION,
                        "user": USERS[name],
                        "price": price,
                        "score": score,
                        "at": ENDED - timedelta(seconds=60 - second),
                    },
                )
            unknown = PasswordHasher().hash(uuid4().hex)
            connection.exec_driver_sql(STATEMENTS.replace("replace me", unknown))
        yield shop
    finally:
        with shop.services.engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA IF EXISTS original CASCADE")


def test_results_are_those_of_the_original(moved: Shop) -> None:
    results = moved.services.results.get(SESSION, page=1, page_size=10)
    assert [(entry.username, entry.is_winner) for entry in results.rankings] == [
        ("ada", True),
        ("eve", True),
        ("bob", False),
    ]
    assert results.total_winners == 2
    assert float(results.final_price or 0) == 250.5
    assert float(moved.services.sessions.get(SESSION).highest_bid or 0) == 310


def test_a_session_that_runs_is_left_out_and_none_is_closed_again(moved: Shop) -> None:
    with pytest.raises(errors.SessionNotFound):
        moved.services.sessions.get(RUNNING)
    assert list(moved.services.closing.due()) == []


def test_members_and_admins_come_along_without_their_passwords(moved: Shop) -> None:
    assert moved.services.accounts.get(USERS["shop"]).is_admin
    assert not moved.services.accounts.get(USERS["ada"]).is_admin
    with pytest.raises(errors.InvalidCredentials):
        moved.services.accounts.authenticate("ada", "whatever it was")


def test_a_member_can_log_in_with_a_hash_that_is_stored_later(moved: Shop) -> None:
    with moved.services.engine.begin() as connection:
        connection.execute(
            text("UPDATE users SET password_hash = :hash WHERE username = 'ada'"),
            {"hash": PasswordHasher().hash("a new one")},
        )
    assert moved.services.accounts.authenticate("ada", "a new one").user_id == USERS["ada"]
