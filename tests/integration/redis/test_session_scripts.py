"""set_status, follow_session, shut_gate, load_standing_bids, load_session: every outcome."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from core import errors
from core.redis import clock, keys, scripts
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

TOKEN = "token"
TTL_MS = 10_000


def params(shop: Shop, session: SessionView) -> dict[str, str]:
    return shop.services.redis.hgetall(keys.session_params(session.session_id))


def lose_params(shop: Shop, session: SessionView) -> None:
    shop.services.redis.delete(keys.session_params(session.session_id))


def set_status(shop: Shop, session: SessionView, status: str, start: int = 7) -> list[Any]:
    names = [keys.session_params(session.session_id)]
    return scripts.set_status(shop.services.redis, names, [status, start])


def follow_session(
    shop: Shop, session: SessionView, status: str, start: int = 1, end: int = 2
) -> list[Any]:
    names = [keys.session_params(session.session_id)]
    return scripts.follow_session(shop.services.redis, names, [status, start, end])


def shut_gate(
    shop: Shop, session: SessionView, when: str, end: datetime | None = None
) -> list[Any]:
    names = [keys.session_params(session.session_id)]
    end_us = clock.to_microseconds(end or session.end_time)
    return scripts.shut_gate(shop.services.redis, names, [when, end_us])


def hold_load(shop: Shop, session: SessionView, token: str = TOKEN) -> None:
    shop.services.redis.set(keys.session_load(session.session_id), token, px=TTL_MS)


def load_bids(shop: Shop, session: SessionView, chunk: str, *bids: tuple[str, ...]) -> list[Any]:
    names = [
        keys.session_load(session.session_id),
        keys.session_params(session.session_id),
        keys.ranking(session.session_id),
        keys.standing_prices(session.session_id),
        *(keys.standing_bid(session.session_id, bid[0]) for bid in bids),
    ]
    fields = [field for bid in bids for field in bid]
    return scripts.load_standing_bids(shop.services.redis, names, [TOKEN, chunk, 0, *fields])


def load_session(shop: Shop, session: SessionView, sequence: int) -> list[Any]:
    names = [
        keys.session_load(session.session_id),
        keys.session_params(session.session_id),
        keys.bid_log(session.session_id),
    ]
    return scripts.load_session(shop.services.redis, names, [TOKEN, sequence, "status", "active"])


# --- set_status ----------------------------------------------------------------------


def test_a_status_is_set_with_its_start(shop: Shop) -> None:
    session = shop.session()
    before = params(shop, session)
    assert set_status(shop, session, "inactive", start=7) == ["status_set"]
    assert params(shop, session) == before | {"status": "inactive", "start": "7"}


@pytest.mark.parametrize("how", ["its time is over", "it was ended early"])
def test_the_status_of_an_ended_session_does_not_change(shop: Shop, how: str) -> None:
    session = shop.session()
    if how == "its time is over":
        shop.end(session)
    else:
        shut_gate(shop, session, "early")
    before = shop.redis_state()
    assert set_status(shop, session, "active") == ["session_ended"]
    assert shop.redis_state() == before


def test_the_status_of_a_session_that_redis_does_not_know_leaves_nothing(shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.flushdb()
    assert set_status(shop, session, "active") == ["unknown_session"]
    assert shop.redis_state() == {}


# --- shut_gate -----------------------------------------------------------------------


def test_a_gate_is_not_shut_before_its_time(shop: Shop) -> None:
    session = shop.session()
    before = shop.redis_state()
    assert shut_gate(shop, session, "due") == ["not_due"]
    assert shop.redis_state() == before


def test_a_gate_whose_time_is_over_is_shut_at_its_end(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    shop.end(session)
    before = params(shop, session)
    end = clock.from_microseconds(int(before["end"]))
    assert shut_gate(shop, session, "due", end=end) == ["gate_shut", before["end"], "1"]
    assert params(shop, session) == before | {"status": "ended"}


def test_a_cancelled_gate_is_shut_now_and_stays_so(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    outcome, ended_at, sequence = shut_gate(shop, session, "cancelled")
    before = shop.redis_state()
    assert (outcome, sequence) == ("gate_shut", "1")
    assert (params(shop, session)["status"], params(shop, session)["end"]) == (
        "cancelled",
        ended_at,
    )
    assert shut_gate(shop, session, "cancelled") == [outcome, ended_at, sequence]
    assert follow_session(shop, session, "active") == ["session_ended"]
    # As after a clock that was set back.
    later = clock.to_microseconds(session.end_time)
    shop.services.redis.hset(keys.session_params(session.session_id), "end", later)
    before = shop.redis_state()
    with pytest.raises(errors.SessionEnded):
        shop.bid(bidder, session, "130")
    assert shop.redis_state() == before


@pytest.mark.parametrize("status", ["active", "inactive"])
def test_a_gate_follows_postgresql_past_its_old_end(shop: Shop, status: str) -> None:
    session = shop.session()
    shop.end(session)
    before = params(shop, session)
    assert follow_session(shop, session, status, 7, 9) == ["status_set"]
    changed = {"status": status, "start": "7", "end": "9"}
    assert params(shop, session) == before | changed


def test_a_gate_that_is_shut_or_absent_does_not_follow(shop: Shop) -> None:
    session = shop.session()
    shut_gate(shop, session, "early")
    before = shop.redis_state()
    assert follow_session(shop, session, "active") == ["session_ended"]
    assert shop.redis_state() == before
    shop.services.redis.flushdb()
    assert follow_session(shop, session, "active") == ["unknown_session"]
    assert shop.redis_state() == {}


def test_a_gate_that_is_shut_early_ends_the_session_now(shop: Shop) -> None:
    session = shop.session()
    before = clock.to_microseconds(clock.now(shop.services.redis))
    outcome, ended_at, sequence = shut_gate(shop, session, "early")
    after = clock.to_microseconds(clock.now(shop.services.redis))
    assert (outcome, sequence) == ("gate_shut", "0")
    assert before <= int(ended_at) <= after
    assert params(shop, session)["end"] == ended_at


@pytest.mark.parametrize("again", ["early", "due"])
def test_shutting_a_gate_twice_answers_the_same(shop: Shop, again: str) -> None:
    session = shop.session()
    first = shut_gate(shop, session, "early")
    before = shop.redis_state()
    assert shut_gate(shop, session, again) == first
    assert shop.redis_state() == before


@pytest.mark.parametrize("when", ["early", "due"])
def test_an_earlier_end_by_postgresql_holds(shop: Shop, when: str) -> None:
    session = shop.session()
    earlier = clock.now(shop.services.redis) - timedelta(minutes=1)
    outcome, ended_at, _ = shut_gate(shop, session, when, end=earlier)
    assert (outcome, int(ended_at)) == ("gate_shut", clock.to_microseconds(earlier))
    assert params(shop, session)["end"] == ended_at


def test_an_earlier_end_by_postgresql_holds_for_a_gate_that_is_shut(shop: Shop) -> None:
    session = shop.session()
    shut_gate(shop, session, "early")
    earlier = clock.now(shop.services.redis) - timedelta(minutes=1)
    assert shut_gate(shop, session, "due", end=earlier)[1] == params(shop, session)["end"]
    assert params(shop, session)["end"] == str(clock.to_microseconds(earlier))


def test_a_later_end_by_postgresql_holds_until_the_gate_is_shut(shop: Shop) -> None:
    session = shop.session()
    shop.end(session)
    before = params(shop, session)
    later = session.end_time + timedelta(hours=1)
    assert shut_gate(shop, session, "due", end=later) == ["not_due"]
    assert params(shop, session) == before
    shut = shut_gate(shop, session, "due", end=clock.from_microseconds(int(before["end"])))
    assert shut_gate(shop, session, "due", end=later) == shut


def test_an_early_end_after_the_time_is_over_keeps_the_end(shop: Shop) -> None:
    session = shop.session()
    shop.end(session)
    end = params(shop, session)["end"]
    assert shut_gate(shop, session, "early", end=clock.from_microseconds(int(end)))[1] == end


def test_the_gate_of_a_session_that_redis_does_not_know_leaves_nothing(shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.flushdb()
    assert shut_gate(shop, session, "early") == ["unknown_session"]
    assert shop.redis_state() == {}


# --- load_standing_bids, load_session ------------------------------------------------

BID = ("u1", "name", "120.00", "552.5", "1.5", "1.25", "7", "1700000000000000")


def test_standing_bids_are_put_back_as_the_bid_script_wrote_them(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    placed = shop.bid(bidder, session, "120")
    standing = keys.standing_bid(session.session_id, bidder.user_id)
    wanted = shop.services.redis.hgetall(standing)
    ranking = keys.ranking(session.session_id)
    wanted_ranking = shop.services.redis.zrange(ranking, 0, -1, withscores=True)
    lose_params(shop, session)
    shop.services.redis.delete(standing, ranking)
    hold_load(shop, session)

    bid = [str(bidder.user_id), "", *(wanted[field] for field in ("price", "score"))]
    bid += [wanted[field] for field in ("response_time", "weight", "sequence", "accepted_at")]
    bid[1] = bidder.username
    assert load_bids(shop, session, "first", tuple(bid)) == ["loading"]
    without_bucket = {key: wanted[key] for key in wanted if not key.startswith("tokens")}
    assert shop.services.redis.hgetall(standing) == without_bucket
    assert shop.services.redis.zrange(ranking, 0, -1, withscores=True) == wanted_ranking
    assert float(wanted["score"]) == placed.score


def test_the_first_chunk_clears_old_remains_and_the_next_does_not(shop: Shop) -> None:
    session = shop.session()
    lose_params(shop, session)
    hold_load(shop, session)
    ranking = keys.ranking(session.session_id)
    shop.services.redis.zadd(ranking, {"remains": 1})
    load_bids(shop, session, "first", BID)
    load_bids(shop, session, "next", ("u2", *BID[1:6], "8", BID[7]))
    assert shop.services.redis.zrange(ranking, 0, -1) == [
        "999999999999991:u2",
        "999999999999992:u1",
    ]


@pytest.mark.parametrize("token", ["", "another"])
def test_who_does_not_hold_the_load_changes_nothing(shop: Shop, token: str) -> None:
    session = shop.session()
    lose_params(shop, session)
    if token:
        hold_load(shop, session, token)
    before = shop.redis_state()
    assert load_bids(shop, session, "first", BID) == ["overtaken"]
    assert load_session(shop, session, 7) == ["overtaken"]
    assert shop.redis_state() == before


def test_a_chunk_that_comes_after_the_session_is_published_changes_nothing(shop: Shop) -> None:
    session = shop.session()
    hold_load(shop, session)
    before = shop.redis_state()
    assert load_bids(shop, session, "next", BID) == ["overtaken"]
    assert shop.redis_state() == before


def test_a_loaded_session_is_published_with_an_empty_log(shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.flushdb()
    hold_load(shop, session)
    assert load_session(shop, session, 7) == ["loaded"]
    log = keys.bid_log(session.session_id)
    assert shop.redis_state() == {
        keys.session_load(session.session_id): TOKEN,
        keys.session_params(session.session_id): {"status": "active", "sequence": "7"},
        log: [],
    }
    assert shop.services.redis.xinfo_stream(log)["last-generated-id"] == "7-0"


def test_a_session_that_is_known_already_is_not_loaded_over(shop: Shop) -> None:
    session = shop.session()
    hold_load(shop, session)
    before = shop.redis_state()
    assert load_session(shop, session, 7) == ["loaded"]
    assert shop.redis_state() == before


@pytest.mark.parametrize(("persisted", "outcome"), [(1, "overtaken"), (2, "loaded")])
@pytest.mark.parametrize("is_trimmed", [True, False])
def test_a_session_is_not_published_while_its_log_knows_more(
    shop: Shop, persisted: int, outcome: str, is_trimmed: bool
) -> None:
    session = shop.session()
    for _ in range(2):
        shop.bid(shop.bidder(), session, "120")
    lose_params(shop, session)
    hold_load(shop, session)
    if is_trimmed:
        shop.services.redis.xtrim(keys.bid_log(session.session_id), maxlen=0)
    assert load_session(shop, session, persisted) == [outcome]
    assert bool(params(shop, session)) is (outcome == "loaded")
