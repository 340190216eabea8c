"""API keys: what is stored, and when one is refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from core import errors
from core.members.api_keys import ApiKeys, KeyHolder, Scope
from tests.api.routes.test_outages import database_set
from tests.support.factories import Shop

LATER = timedelta(hours=1)


@pytest.fixture
def keys(shop: Shop) -> ApiKeys:
    shop.account("ada")
    return shop.services.api_keys


def execute(shop: Shop, statement: str) -> None:
    with shop.services.engine.begin() as connection:
        connection.execute(text(statement))


def test_a_key_acts_for_its_owner(keys: ApiKeys, shop: Shop) -> None:
    written, view = keys.create("orders", [Scope.ORDERS_READ, Scope.ORDERS_WRITE])
    holder = keys.authenticate(written, "orders:write")
    [(owner_id,)] = shop.rows("SELECT id FROM users")
    assert holder == KeyHolder(view.key_id, "orders", owner_id)
    assert (view.owner, view.scopes) == ("ada", ("orders:read", "orders:write"))


def test_of_the_secret_only_the_hash_is_stored(keys: ApiKeys, shop: Shop) -> None:
    written, view = keys.create("orders", [Scope.ORDERS_READ])
    prefix, key_id, secret = written.split("_", 2)
    assert (prefix, UUID(key_id), len(secret)) == ("fbk", view.key_id, 43)
    [(row, stored)] = shop.rows("SELECT api_keys::text, secret_hash FROM api_keys")
    assert bytes(stored) == sha256(secret.encode()).digest()
    assert secret not in row
    assert secret not in repr(keys.list())


def _swap(written: str) -> str:
    """Another first character of the secret."""
    return written[:37] + ("A" if written[37] != "A" else "B") + written[38:]


REFUSALS: dict[str, tuple[type[errors.Refusal], str]] = {
    "revoked": (errors.TokenRevoked, "UPDATE api_keys SET revoked_at = now()"),
    "expired": (errors.TokenExpired, "UPDATE api_keys SET expires_at = now()"),
    "owner disabled": (errors.AccountDisabled, "UPDATE users SET disabled_at = now()"),
    "owner demoted": (errors.AdminRequired, "UPDATE users SET is_admin = false"),
    "owner deleted": (errors.TokenInvalid, "DELETE FROM users"),
    "key deleted": (errors.TokenInvalid, "DELETE FROM api_keys"),
    "of another scope": (errors.ScopeMissing, "UPDATE api_keys SET scopes = '{orders:read}'"),
    "another secret": (
        errors.TokenInvalid,
        "UPDATE api_keys SET secret_hash = decode(repeat('00', 32), 'hex')",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_key_is_refused_at_once(keys: ApiKeys, shop: Shop, case: str) -> None:
    refusal, statement = REFUSALS[case]
    expires_at = datetime.now(UTC) + LATER
    written, _ = keys.create("sales", [Scope.SALES_WRITE], expires_at=expires_at)
    keys.authenticate(written, "sales:write")
    execute(shop, statement)
    with pytest.raises(refusal):
        keys.authenticate(written, "sales:write")


def test_an_erased_owners_key_is_refused(keys: ApiKeys, shop: Shop) -> None:
    written, _ = keys.create("sales", [Scope.SALES_WRITE])
    shop.services.erasure.erase(shop.services.erasure.find("ada"))
    with pytest.raises(errors.AccountDisabled):
        keys.authenticate(written, "sales:write")


@pytest.mark.parametrize(
    "forge",
    [
        _swap,
        lambda written: written[:-1],
        lambda written: f"{written}A",
        lambda written: f"{written}\n",
        lambda written: written.upper(),
        lambda written: written.replace(written[4:36], uuid4().hex),
        lambda written: "fbk_",
        lambda written: "fbk_" + "x" * 10_000,
        lambda written: f"fbk_{'0' * 32}_{'é' * 43}",
    ],
)
def test_a_forged_key_is_refused(keys: ApiKeys, forge: Callable[[str], str]) -> None:
    written, _ = keys.create("sales", [Scope.SALES_WRITE])
    with pytest.raises(errors.TokenInvalid):
        keys.authenticate(forge(written), "sales:write")


def last_used(shop: Shop) -> datetime | None:
    [(moment,)] = shop.rows("SELECT last_used_at FROM api_keys")
    return moment


def test_its_last_use_is_written_at_most_once_a_minute(keys: ApiKeys, shop: Shop) -> None:
    written, _ = keys.create("sales", [Scope.SALES_WRITE])
    assert last_used(shop) is None
    keys.authenticate(written, "sales:write")
    first = last_used(shop)
    assert first is not None
    keys.authenticate(written, "sales:write")
    assert last_used(shop) == first
    execute(shop, "UPDATE api_keys SET last_used_at = last_used_at - interval '1 minute'")
    keys.authenticate(written, "sales:write")
    assert last_used(shop) >= first


def test_a_refused_use_is_none(keys: ApiKeys, shop: Shop) -> None:
    written, _ = keys.create("sales", [Scope.SALES_WRITE])
    for forged, scope in ((_swap(written), "sales:write"), (written, "orders:read")):
        with pytest.raises(errors.Refusal):
            keys.authenticate(forged, scope)
    assert last_used(shop) is None


def test_a_key_may_read_from_a_read_only_database(keys: ApiKeys, shop: Shop) -> None:
    written, _ = keys.create("orders", [Scope.ORDERS_READ])
    with database_set(shop.services.engine, "default_transaction_read_only", "on"):
        assert keys.authenticate(written, "orders:read").name == "orders"


def test_revoking_twice_is_revoking_once(keys: ApiKeys) -> None:
    _, view = keys.create("orders", [Scope.ORDERS_READ])
    assert [keys.revoke(view.key_id) for _ in range(2)] == ["orders"] * 2
    [revoked] = keys.list()
    keys.revoke(view.key_id)
    assert keys.list() == [revoked]
    assert keys.revoke(uuid4()) is None


@pytest.mark.parametrize(
    ("owner", "refusal"),
    [("bob", errors.AdminRequired), ("nobody", errors.AccountNotFound)],
)
def test_a_key_needs_an_admin_as_its_owner(
    keys: ApiKeys, shop: Shop, owner: str, refusal: type[Exception]
) -> None:
    shop.account("bob")
    with pytest.raises(refusal):
        keys.create("orders", [Scope.ORDERS_READ], owner=owner)
    assert keys.list() == []


def test_with_several_admins_one_must_be_named(keys: ApiKeys, shop: Shop) -> None:
    shop.account("bob")
    shop.services.membership.promote("bob")
    with pytest.raises(errors.AdminRequired):
        keys.create("orders", [Scope.ORDERS_READ])
    _, view = keys.create("orders", [Scope.ORDERS_READ], owner="BOB")
    assert view.owner == "bob"
