"""Accounts that are older than their keys: each is found, and twins are named."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from alembic import command
from sqlalchemy import Engine, text

from core import errors
from core.config import Settings
from core.postgres import keys
from core.postgres.database import create_database_engine
from core.postgres.keys import Twin, fill_keys
from core.postgres.migrating import migrate
from core.postgres.models import User
from core.postgres.schema import alembic_config
from tests.support.factories import PASSWORD, Shop
from tests.support.racing import together, wait_for_blocked
from worker import tasks

OLD_WRITE = text(
    "INSERT INTO users (id, username, email, password_hash, created_at)"
    " VALUES (:id, :username, :email, :hash, now() + :number * interval '1 second')"
)


def write(
    engine: Engine, *names: str, emails: tuple[str, ...] = (), hash_: str = "-"
) -> list[UUID]:
    """Accounts as the version before writes them, oldest first."""
    ids = [uuid4() for _ in names]
    rows = [
        {
            "id": user_id,
            "username": name,
            "email": emails[number] if emails else f"{user_id}@example.com",
            "hash": hash_,
            "number": number,
        }
        for number, (user_id, name) in enumerate(zip(ids, names, strict=True))
    ]
    with engine.begin() as connection:
        connection.execute(OLD_WRITE, rows)
    return ids


def keys_of(engine: Engine, ids: list[UUID], column: str = "username_key") -> list[str | None]:
    statement = text(f"SELECT id, {column} FROM users")  # noqa: S608 - our own column
    with engine.connect() as connection:
        found = {row[0]: row[1] for row in connection.execute(statement)}
    return [found[user_id] for user_id in ids]


@pytest.fixture
def engine(empty_database: Settings) -> Iterator[Engine]:
    """An engine over a database of the version before."""
    engine = create_database_engine(empty_database)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0005")
    yield engine
    engine.dispose()


def test_a_migration_gives_every_account_its_keys(engine: Engine) -> None:
    ids = write(engine, "Ann", "Jose\u0301", "Bob  Lee", "x\u200by\u200bz", "\u200b\u200b\u200b")
    assert migrate(engine).twins == []
    assert keys_of(engine, ids) == ["ann", "josé", "bob lee", "xyz", "\u200b\u200b\u200b"]
    assert keys_of(engine, ids, "email_key") == [f"{user_id}@example.com" for user_id in ids]


def test_of_twins_the_admin_or_the_oldest_gets_the_key_and_the_others_are_named(
    engine: Engine,
) -> None:
    jose, bob = ("José", "Jose\u0301", "jose\u0301\u034f"), ("bob lee", "bob\u00a0lee")
    names = [jose[0], "root\ufe0f", jose[1], bob[0], "ROOT", bob[1], jose[2]]
    ids = write(engine, *names)
    with engine.begin() as connection:
        connection.execute(text("UPDATE users SET is_admin = username = 'ROOT'"))
    twins = migrate(engine).twins
    assert keys_of(engine, ids) == ["josé", None, None, "bob lee", "root", None, None]
    assert {(twin.field, twin.user_id, twin.other_id) for twin in twins} == {
        ("username", ids[1], ids[4]),
        ("username", ids[2], ids[0]),
        ("username", ids[5], ids[3]),
        ("username", ids[6], ids[0]),
    }
    assert (twins[0].username, twins[0].other_username) == ("root\ufe0f", "ROOT")
    assert set(migrate(engine).twins) == set(twins), "they are named until they are none"


def test_twins_of_an_address_are_named_too(engine: Engine) -> None:
    ids = write(engine, "ann", "eve", emails=("a@bücher.example", "A@xn--bcher-kva.example"))
    assert migrate(engine).twins == [Twin("email", ids[1], "eve", ids[0], "ann")]
    assert keys_of(engine, ids, "email_key") == ["a@xn--bcher-kva.example", None]


def test_many_accounts_are_filled_in_batches(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_BATCH_ROWS", 3)
    ids = write(
        engine, *[f"ann{mark}" for mark in ("", *"\u200b\u200c\u200d\u2060\ufe0f\u034f")], "bob"
    )
    assert [twin.other_id for twin in migrate(engine).twins] == [ids[0]] * 6
    assert keys_of(engine, ids) == ["ann", *[None] * 6, "bob"]


def test_filling_at_once_gives_the_same(engine: Engine) -> None:
    names = [f"{name}{mark}" for name in ("ann", "bob") for mark in ("", "\u200b", "\ufe0f")]
    migrate(engine)
    ids = write(engine, *names)
    first, second = together(lambda: fill_keys(engine), lambda: fill_keys(engine))
    assert set(first) == set(second)
    assert len(first) == 4
    assert keys_of(engine, ids) == ["ann", None, None, "bob", None, None]


def test_a_registration_meanwhile_makes_a_twin_and_no_error(shop: Shop) -> None:
    engine = shop.services.engine
    [older] = write(engine, "ann\u200b")
    with ThreadPoolExecutor(1) as other, shop.services.database.begin() as db:
        db.add(User(username="ann", username_key="ann", email="a@t.com", password_hash="-"))
        db.flush()
        filling = other.submit(fill_keys, engine)
        wait_for_blocked(shop)
        db.commit()
        twins = filling.result()
    assert [(twin.user_id, twin.other_username) for twin in twins] == [(older, "ann")]


@pytest.fixture
def twins(shop: Shop) -> list[UUID]:
    """Two accounts of the version before, `admin` and what looks like it."""
    accounts = shop.services.accounts
    ids = write(
        shop.services.engine,
        "admin",
        "admin\ufe0f",
        hash_=accounts._passwords.hash(PASSWORD),
    )
    fill_keys(shop.services.engine)
    return ids


def test_each_twin_logs_in_by_its_own_spelling(shop: Shop, twins: list[UUID]) -> None:
    authenticate = shop.services.accounts.authenticate
    for name, user_id in zip(("admin", "ADMIN\ufe0f "), twins, strict=True):
        assert authenticate(name, PASSWORD).user_id == user_id
    assert authenticate("admin\u200b", PASSWORD).user_id == twins[0]
    assert shop.services.membership.disable("admin\ufe0f") == "admin\ufe0f"


def test_nobody_registers_as_a_third_of_twins(shop: Shop, twins: list[UUID]) -> None:
    for name in ("admin", "admin\ufe0f", "Admin\u034f"):
        with pytest.raises(errors.UsernameTaken):
            shop.account(name)


@pytest.mark.parametrize("renamed", [0, 1])
def test_after_a_new_name_there_are_no_twins(shop: Shop, twins: list[UUID], renamed: int) -> None:
    assert shop.services.membership.rename(str(twins[renamed]), "Ann Lee") == "Ann Lee"
    assert fill_keys(shop.services.engine) == []
    assert shop.services.accounts.authenticate("ann  LEE", PASSWORD).user_id == twins[renamed]
    assert shop.services.accounts.authenticate("admin", PASSWORD).user_id == twins[1 - renamed]


def test_a_taken_name_is_no_new_name(shop: Shop, twins: list[UUID]) -> None:
    with pytest.raises(errors.UsernameTaken):
        shop.services.membership.rename(str(twins[1]), "\uff41dmin")


def test_an_account_of_an_older_version_logs_in_before_it_has_its_keys(shop: Shop) -> None:
    accounts = shop.services.accounts
    [user_id] = write(shop.services.engine, "Jose\u0301", hash_=accounts._passwords.hash(PASSWORD))
    assert accounts.authenticate("JOSE\u0301 ", PASSWORD).user_id == user_id
    for _ in range(2):
        tasks.fill_account_keys()
    assert accounts.authenticate("josé", PASSWORD).user_id == user_id
