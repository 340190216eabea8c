"""The script of a bid that the cost of the rate limit is measured against."""

import hashlib

import pytest

from core.redis import keys, scripts
from dev.bench.servers.bucketless import without_bucket
from tests.support.factories import Shop

BUCKET = {"tokens", "tokens_at"}


@pytest.fixture
def bucketless(monkeypatch: pytest.MonkeyPatch) -> None:
    source = without_bucket(scripts.place_bids.source)
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(scripts.place_bids, "source", source)
    monkeypatch.setattr(scripts.place_bids, "sha", sha)


def standing_fields(shop: Shop) -> set[str]:
    """What Redis keeps of a member's second bid."""
    session, bidder = shop.session(), shop.bidder()
    for price in ("150.00", "160.00"):
        placed = shop.bid(bidder, session, price)
    assert (placed.outcome, placed.rank, placed.sequence) == ("accepted", 1, 2)
    key = keys.standing_bid_prefix(session.session_id) + str(bidder.user_id)
    return set(shop.services.redis.hgetall(key))


def test_it_keeps_no_bucket_and_all_else(shop: Shop, bucketless: None) -> None:
    without = standing_fields(shop)
    assert not without & BUCKET
    assert "score" in without


def test_the_products_own_keeps_one(shop: Shop) -> None:
    assert standing_fields(shop) >= BUCKET


def test_another_script_is_refused_rather_than_measured() -> None:
    source = scripts.place_bids.source.replace("tokens = text(tokens)", "tokens = tokens")
    with pytest.raises(ValueError, match="exactly once"):
        without_bucket(source)
