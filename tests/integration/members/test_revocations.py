"""Logged-out tokens: refused at once and for good, whatever Redis loses."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from core import errors
from core.redis import keys
from tests.support.factories import Shop

LATER = datetime.now(UTC) + timedelta(hours=1)
EARLIER = datetime.now(UTC) - timedelta(hours=1)


def is_revoked(shop: Shop, token_id: str) -> bool:
    try:
        shop.services.revocations.require_valid(token_id, uuid4())
    except errors.TokenRevoked:
        return True
    return False


def revoked_in_redis(shop: Shop) -> set[str]:
    return set(shop.services.redis.zrange(keys.REVOKED_TOKENS, 0, -1))


def revoked_in_postgresql(shop: Shop) -> set[str]:
    return {row[0] for row in shop.rows("SELECT token_id FROM revoked_tokens")}


def test_a_token_is_good_until_it_is_revoked(shop: Shop) -> None:
    revocations = shop.services.revocations
    assert not is_revoked(shop, "one")
    revocations.revoke("one", LATER)
    assert is_revoked(shop, "one")
    assert not is_revoked(shop, "other")


def test_revoking_twice_is_revoking_once(shop: Shop) -> None:
    for _ in range(2):
        shop.services.revocations.revoke("one", LATER)
    assert shop.rows("SELECT token_id, expires_at FROM revoked_tokens") == [("one", LATER)]


@pytest.mark.parametrize("ask_first", [True, False])
def test_a_redis_that_lost_the_list_is_given_it_back(shop: Shop, ask_first: bool) -> None:
    revocations = shop.services.revocations
    revocations.revoke("one", LATER)
    shop.services.redis.flushdb()
    if not ask_first:
        revocations.revoke("two", LATER)
    assert is_revoked(shop, "one")
    assert not is_revoked(shop, "three")


def test_expired_tokens_are_not_given_back(shop: Shop) -> None:
    shop.services.revocations.revoke("old", EARLIER)
    shop.services.revocations.revoke("one", LATER)
    shop.services.redis.flushdb()
    shop.services.revocations.load()
    assert revoked_in_redis(shop) == {"one", keys.REVOCATIONS_LOADED}


def test_a_purge_forgets_expired_tokens_only(shop: Shop) -> None:
    revocations = shop.services.revocations
    revocations.load()
    revocations.revoke("old", EARLIER)
    revocations.revoke("one", LATER)
    assert [revocations.purge_expired() for _ in range(2)] == [1, 0]
    assert revoked_in_postgresql(shop) == {"one"}
    assert revoked_in_redis(shop) == {"one", keys.REVOCATIONS_LOADED}
