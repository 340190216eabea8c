"""A session that Redis lost is brought back from PostgreSQL as it was."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from core import errors
from core.bidding.board import BoardPage
from core.bidlog.losses import SKIPPED_SEQUENCES
from core.redis import keys
from core.sessions import loading
from core.sessions.loading import SessionLoader
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

# The bucket of the rate limit and the mark of a drain are not worth keeping.
VOLATILE = {"tokens", "tokens_at", "drain_trusted_until"}


def loader(shop: Shop) -> SessionLoader:
    services = shop.services
    return SessionLoader(services.database, services.redis, services.bid_log)


def lively_session(shop: Shop, bidders: int = 5, *, allow_lower_bids: bool = True) -> SessionView:
    """A session whose members have bid, some of them twice: lower, or higher if they must."""
    session = shop.session(inventory=2, allow_lower_bids=allow_lower_bids)
    members = [shop.bidder() for _ in range(bidders)]
    for number, member in enumerate(members):
        shop.bid(member, session, f"{150 - number}.25")
    for member in members[::2]:
        shop.bid(member, session, "130.75" if allow_lower_bids else "160.75")
    return session


def kept(shop: Shop) -> dict[str, Any]:
    """Redis as it must be again: without what is volatile, doubles by their value."""
    return {
        key: {field: plain(field, value[field]) for field in value if field not in VOLATILE}
        if isinstance(value, dict)
        else value
        for key, value in shop.redis_state().items()
        if not key.startswith((keys.USER_WEIGHT_PREFIX, keys.REVOKED_TOKENS))
    }


def plain(field: str, text: str) -> str | float:
    return float(text) if field in {"score", "response_time", "weight"} else text


def board(shop: Shop, session: SessionView) -> BoardPage:
    return shop.services.board.page(session.session_id, page=1, page_size=50)


@pytest.mark.parametrize("allow_lower_bids", [True, False])
@pytest.mark.parametrize("chunk_size", [1, 2, 5, 500])
def test_a_lost_session_is_loaded_as_it_was(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, chunk_size: int, allow_lower_bids: bool
) -> None:
    monkeypatch.setattr(loading, "_CHUNK_SIZE", chunk_size)
    session = lively_session(shop, allow_lower_bids=allow_lower_bids)
    shop.drain(session)
    before, board_before = kept(shop), board(shop, session)
    shop.services.redis.flushdb()

    loader(shop).load(session.session_id)
    before[keys.session_params(session.session_id)]["sequence"] = str(8 + SKIPPED_SEQUENCES)
    assert kept(shop) == before
    assert board(shop, session).leaderboard == board_before.leaderboard


def test_sequences_go_on_after_a_load(shop: Shop) -> None:
    session = lively_session(shop)
    persisted = shop.drain(session)
    shop.services.redis.flushdb()
    assert shop.bid(shop.bidder(), session, "120").sequence == persisted + SKIPPED_SEQUENCES + 1
    assert shop.drain(session) == 1


def test_a_loaded_standing_bid_is_replayed_and_replaced(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    first = shop.bid(bidder, session, "120")
    shop.drain(session)
    shop.services.redis.flushdb()
    again = shop.bid(bidder, session, "120")
    assert (again.replayed, again.sequence, again.score) == (True, 1, first.score)
    assert shop.bid(bidder, session, "121").rank == 1
    assert shop.services.redis.zcard(keys.ranking(session.session_id)) == 1


def test_the_weight_of_the_first_bid_outlives_a_load(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    shop.drain(session)
    shop.services.redis.flushdb()
    shop.services.redis.set(keys.user_weight(bidder.user_id), "4.5")
    assert shop.bid(bidder, session, "121").user_weight == 1.0


def test_lost_params_lose_no_bid_that_is_only_in_the_log(shop: Shop) -> None:
    session = lively_session(shop)
    before, bids = board(shop, session), shop.services.redis.xlen(keys.bid_log(session.session_id))
    shop.services.redis.delete(keys.session_params(session.session_id))

    assert board(shop, session).leaderboard == before.leaderboard
    assert shop.rows("SELECT count(*), max(sequence) FROM bids") == [(bids, bids)]
    assert shop.bid(shop.bidder(), session, "120").sequence == bids + 1


def test_remains_of_a_lost_session_are_cleared(shop: Shop) -> None:
    session = lively_session(shop)
    shop.drain(session)
    before = board(shop, session)
    shop.services.redis.delete(keys.session_params(session.session_id))
    shop.services.redis.zadd(keys.ranking(session.session_id), {f"999:{uuid4()}": 1e9})
    assert board(shop, session).leaderboard == before.leaderboard


def test_a_known_session_is_left_alone(shop: Shop) -> None:
    session = lively_session(shop)
    before = shop.redis_state()
    loader(shop).load(session.session_id)
    assert shop.redis_state() == before


def test_a_load_leaves_no_token_behind(shop: Shop) -> None:
    session = lively_session(shop)
    assert not shop.services.redis.exists(keys.session_load(session.session_id))


def test_a_session_that_nobody_made_cannot_be_loaded(shop: Shop) -> None:
    with pytest.raises(errors.SessionNotFound):
        loader(shop).load(uuid4())
    assert shop.redis_state() == {}


def test_a_closed_session_is_not_loaded_again(shop: Shop) -> None:
    session = lively_session(shop)
    shop.close(session)
    shop.services.redis.flushdb()
    with pytest.raises(errors.SessionEnded):
        loader(shop).load(session.session_id)
    assert shop.redis_state() == {}


def test_the_place_of_a_loader_that_died_becomes_free(shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.flushdb()
    shop.services.redis.set(keys.session_load(session.session_id), "dead", px=100)
    assert shop.bid(shop.bidder(), session, "120").rank == 1


def test_a_load_that_takes_too_long_can_be_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_WAIT_SECONDS", 0.05)
    session = shop.session()
    shop.services.redis.flushdb()
    shop.services.redis.set(keys.session_load(session.session_id), "slow")
    with pytest.raises(errors.TemporarilyUnavailable):
        loader(shop).load(session.session_id)
    assert shop.services.redis.get(keys.session_load(session.session_id)) == "slow"


def test_a_loader_that_was_overtaken_touches_nothing(shop: Shop) -> None:
    session = lively_session(shop)
    shop.drain(session)
    shop.services.redis.delete(keys.session_params(session.session_id))
    before = shop.redis_state()
    assert not _load_with_a_lost_token(shop, session.session_id)
    assert shop.redis_state() == before


def _load_with_a_lost_token(shop: Shop, session_id: UUID) -> bool:
    return loader(shop)._load_as(session_id, "a token that has lapsed")


@pytest.mark.parametrize("status", ["active", "inactive"])
def test_a_status_that_was_set_while_redis_did_not_know_the_session_is_loaded(
    shop: Shop, status: str
) -> None:
    session = shop.session()
    shop.services.redis.flushdb()
    sessions = shop.services.sessions
    (sessions.activate if status == "active" else sessions.deactivate)(session.session_id)
    loader(shop).load(session.session_id)
    params = shop.services.redis.hgetall(keys.session_params(session.session_id))
    assert params["status"] == status
