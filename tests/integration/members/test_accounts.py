"""Accounts: who becomes an admin, whose name is taken, who may come in."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from argon2 import PasswordHasher

from core import errors
from core.members.accounts import Accounts
from core.postgres.models import User
from core.redis import keys
from core.redis.connecting import create_redis
from tests.support.factories import PASSWORD, Shop


def accounts(
    shop: Shop, *, first_account_is_admin: bool = True, hasher: PasswordHasher | None = None
) -> Accounts:
    services = shop.services
    return Accounts(
        services.database,
        services.redis,
        first_account_is_admin=first_account_is_admin,
        hasher=hasher or services.accounts._passwords.hasher,
    )


def hash_of(shop: Shop, username: str) -> str:
    [(password_hash,)] = shop.rows(
        "SELECT password_hash FROM users WHERE username = :name", name=username
    )
    return password_hash


def test_the_first_account_is_the_admin_and_the_second_is_not(shop: Shop) -> None:
    assert [shop.account().is_admin for _ in range(3)] == [True, False, False]


def test_the_first_account_rule_can_be_switched_off(shop: Shop) -> None:
    register = accounts(shop, first_account_is_admin=False).register
    assert not register("ann", "ann@example.com", PASSWORD).is_admin


def test_an_admin_can_be_created_at_any_time(shop: Shop) -> None:
    shop.account()
    assert shop.services.accounts.create_admin("root", "root@example.com", PASSWORD).is_admin


def test_after_an_admin_from_the_command_line_nobody_is_the_first(shop: Shop) -> None:
    shop.services.accounts.create_admin("root", "root@example.com", PASSWORD)
    assert not shop.account().is_admin


def test_a_new_member_weighs_one_and_the_cache_knows(shop: Shop) -> None:
    account = shop.account()
    assert account.weight == 1.0
    assert shop.services.redis.get(keys.user_weight(account.user_id)) == "1.0"


@pytest.mark.parametrize("username", ["ann", "ANN", "Ann"])
def test_a_username_is_taken_in_any_case(shop: Shop, username: str) -> None:
    shop.account("ann")
    with pytest.raises(errors.UsernameTaken):
        shop.account(username)


def test_an_email_is_taken_in_any_case(shop: Shop) -> None:
    register = shop.services.accounts.register
    register("ann", "ann@example.com", PASSWORD)
    with pytest.raises(errors.EmailTaken):
        register("bob", "Ann@Example.com", PASSWORD)


def test_a_refused_registration_leaves_nothing(shop: Shop) -> None:
    shop.account("ann")
    before = shop.redis_state()
    with pytest.raises(errors.UsernameTaken):
        shop.account("ann")
    assert shop.rows("SELECT count(*) FROM users") == [(1,)]
    assert shop.redis_state() == before


@pytest.mark.parametrize("username", ["ann", "ANN"])
def test_a_member_comes_in_by_name_and_password(shop: Shop, username: str) -> None:
    account = shop.account("ann")
    assert shop.services.accounts.authenticate(username, PASSWORD) == account


@pytest.mark.parametrize("username", ["Ämy", "ΟΔΥΣΣΕΥΣ", "İstanbul", "straße"])
def test_a_member_of_any_alphabet_comes_in(shop: Shop, username: str) -> None:
    account = shop.account(username)
    assert shop.services.accounts.authenticate(username, PASSWORD) == account


@pytest.mark.parametrize(("username", "password"), [("ann", "wrong"), ("nobody", PASSWORD)])
def test_a_wrong_name_and_a_wrong_password_are_refused_alike(
    shop: Shop, username: str, password: str
) -> None:
    shop.account("ann")
    with pytest.raises(errors.InvalidCredentials) as refused:
        shop.services.accounts.authenticate(username, password)
    assert refused.value.detail == errors.InvalidCredentials.detail


def test_the_password_of_nobody_opens_no_account(shop: Shop) -> None:
    with pytest.raises(errors.InvalidCredentials):
        shop.services.accounts.authenticate("nobody", "the password of nobody")


def test_a_password_is_stored_as_an_argon2id_hash_only(shop: Shop) -> None:
    shop.account("ann")
    assert hash_of(shop, "ann").startswith("$argon2id$")
    assert not shop.rows("SELECT 1 FROM users WHERE users::text LIKE :text", text=f"%{PASSWORD}%")


def test_an_old_hash_is_renewed_when_its_member_comes_in(shop: Shop) -> None:
    stronger = accounts(shop, hasher=PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    shop.account("ann")
    before = hash_of(shop, "ann")
    stronger.authenticate("ann", PASSWORD)
    after = hash_of(shop, "ann")
    assert "m=8,t=1" in before
    assert "m=16,t=2" in after
    stronger.authenticate("ann", PASSWORD)
    assert hash_of(shop, "ann") == after


def test_an_account_is_found_by_its_id(shop: Shop) -> None:
    account = shop.account()
    assert shop.services.accounts.get(account.user_id) == account


def test_a_token_of_nobody_is_invalid(shop: Shop) -> None:
    with pytest.raises(errors.TokenInvalid):
        shop.services.accounts.get(uuid4())


def test_only_an_admin_is_an_admin(shop: Shop) -> None:
    admin, member = shop.account(), shop.account()
    assert shop.services.accounts.get_admin(admin.user_id) == admin
    with pytest.raises(errors.AdminRequired):
        shop.services.accounts.get_admin(member.user_id)


def test_registering_does_not_need_redis(shop: Shop) -> None:
    nowhere = create_redis(replace(shop.services.settings, redis_port=1))
    away = Accounts(
        shop.services.database,
        nowhere,
        first_account_is_admin=True,
        hasher=shop.services.accounts._passwords.hasher,
    )
    account = away.register("ann", "ann@example.com", PASSWORD)
    nowhere.close()
    assert shop.services.accounts.get(account.user_id) == account


NFC, NFD = "p\u00e4ssw\u00f6rd", "pa\u0308sswo\u0308rd"


@pytest.mark.parametrize("typed_first", [NFC, NFD])
def test_a_hash_of_a_password_as_it_was_typed_is_renewed_in_the_canonical_form(
    shop: Shop, typed_first: str
) -> None:
    authenticate, hasher = (
        shop.services.accounts.authenticate,
        shop.services.accounts._passwords.hasher,
    )
    account = shop.account("ann")
    with shop.services.database.begin() as db:
        db.get_one(User, account.user_id).password_hash = hasher.hash(typed_first)
    assert authenticate("ann", typed_first) == account
    assert authenticate("ann", NFC) == authenticate("ann", NFD) == account
    hasher.verify(hash_of(shop, "ann"), NFC)


class CountingHasher(PasswordHasher):
    """A real hasher that counts what it verifies."""

    verified = 0

    def verify(self, *args: Any, **kwargs: Any) -> bool:
        self.verified += 1
        return super().verify(*args, **kwargs)


@pytest.mark.parametrize("username", ["ann", "nobody"])
@pytest.mark.parametrize(("password", "hashes"), [("wrong", 1), (NFC, 1), (NFD, 2)], ids=ascii)
def test_a_wrong_password_costs_two_hashes_only_if_it_has_two_spellings(
    shop: Shop, username: str, password: str, hashes: int
) -> None:
    shop.account("ann")
    hasher = CountingHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.raises(errors.InvalidCredentials):
        accounts(shop, hasher=hasher).authenticate(username, password)
    assert hasher.verified == hashes
