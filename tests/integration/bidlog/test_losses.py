"""What Redis lost is recorded once, with all that can be known, and given out to nobody."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from core.bidlog.losses import SKIPPED_SEQUENCES
from core.redis import clock, keys
from core.sessions.loading import SessionLoader
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

LOST = 2


def bid_many(shop: Shop, session: SessionView, count: int) -> list[int]:
    return [shop.bid(shop.bidder(), session, "150").sequence for _ in range(count)]


def half_drained(shop: Shop) -> SessionView:
    """A session with three bids in `bids` and two in the log only."""
    session = shop.session()
    bid_many(shop, session, 3)
    shop.drain(session)
    bid_many(shop, session, LOST)
    return session


def events(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows("SELECT kind, details FROM session_events ORDER BY id")


def differences(shop: Shop, session: SessionView) -> list[str]:
    checks = shop.services.audit.verify(session.session_id)
    return [line for check in checks for line in check.shown]


def known(shop: Shop, session: SessionView) -> list[str]:
    checks = shop.services.audit.verify(session.session_id)
    return [line for check in checks for line in check.known]


def test_a_flush_with_bids_in_the_log_is_recorded_and_reuses_no_sequence(shop: Shop) -> None:
    session = half_drained(shop)
    shop.services.redis.flushdb()
    following = 3 + SKIPPED_SEQUENCES + 1
    assert bid_many(shop, session, 2) == [following, following + 1]

    [(newest,)] = shop.rows("SELECT max(accepted_at) FROM bids")
    [(kind, details)] = events(shop)
    assert kind == "redis_lost"
    assert details == {
        "persisted_sequence": 3,
        "next_sequence": following,
        "last_persisted_bid_at": newest.isoformat(),
    }
    assert shop.drain(session) == 2
    assert len(events(shop)) == 1, "the drain must not report the skip as a gap"
    assert shop.rows("SELECT sequence FROM bids ORDER BY sequence") == [
        (1,), (2,), (3,), (following,), (following + 1,),
    ]  # fmt: skip


def test_a_flush_before_the_first_drain_is_recorded(shop: Shop) -> None:
    session = shop.session()
    bid_many(shop, session, 2)
    shop.services.redis.flushdb()
    assert bid_many(shop, session, 1) == [SKIPPED_SEQUENCES + 1]
    [(kind, details)] = events(shop)
    assert (kind, details["persisted_sequence"]) == ("redis_lost", 0)
    assert details["last_persisted_bid_at"] is None


def test_a_flush_after_a_drain_is_recorded_because_nobody_can_prove_it_harmless(
    shop: Shop,
) -> None:
    session = shop.session()
    bid_many(shop, session, 2)
    shop.drain(session)
    shop.services.redis.flushdb()
    shop.services.loader.load(session.session_id)
    assert [kind for kind, _ in events(shop)] == ["redis_lost"]


def test_every_flush_is_recorded_with_ranges_that_do_not_meet(shop: Shop) -> None:
    session = half_drained(shop)
    for _ in range(3):
        shop.services.redis.flushdb()
        bid_many(shop, session, 1)
        shop.drain(session)
    ranges = [(d["persisted_sequence"], d["next_sequence"]) for _, d in events(shop)]
    step = SKIPPED_SEQUENCES + 1
    assert ranges == [(3 + n * step, 3 + (n + 1) * step) for n in range(3)]
    assert differences(shop, session) == []


def delete(key: Callable[[Any], str]) -> Callable[[Shop, SessionView], Any]:
    return lambda shop, session: shop.services.redis.delete(key(session.session_id))


@pytest.mark.parametrize(
    "happening",
    [
        delete(keys.session_params),
        delete(keys.ranking),
        lambda shop, session: shop.services.loader.rebuild(session.session_id),
        lambda shop, session: shop.drain(session),
        lambda shop, session: (
            shop.services.sessions.deactivate(session.session_id)
            and shop.services.sessions.activate(session.session_id)
        ),
    ],
    ids=["params deleted", "ranking deleted", "rebuilt", "drained", "paused"],
)
@pytest.mark.parametrize("is_drained", [True, False])
def test_nothing_is_recorded_where_nothing_was_lost(
    shop: Shop, happening: Callable[[Shop, SessionView], Any], is_drained: bool
) -> None:
    session = half_drained(shop)
    if is_drained:
        shop.drain(session)
    happening(shop, session)
    shop.services.redis.delete(keys.session_params(session.session_id))
    assert bid_many(shop, session, 1) == [6]
    assert events(shop) == []


def test_a_session_that_redis_never_knew_lost_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.services.sessions, "_loader", NeverLoads())
    session = shop.session()
    assert bid_many(shop, session, 1) == [1]
    assert events(shop) == []


class LoaderThatDies(SessionLoader):
    """Dies when Redis lacks nothing but the params."""

    def __init__(self, shop: Shop) -> None:
        services = shop.services
        super().__init__(services.database, services.redis, services.bid_log)

    def _publish(self, *_: Any) -> bool:
        raise KilledError


class KilledError(Exception):
    """Nothing after this happened."""


def die_in_the_load(shop: Shop, session: SessionView) -> None:
    with pytest.raises(KilledError):
        LoaderThatDies(shop).load(session.session_id)


def test_a_first_load_that_dies_before_it_is_done_leaves_nothing_that_looks_like_a_loss(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.services.sessions, "_loader", NeverLoads())
    session = shop.session()
    for _ in range(2):
        die_in_the_load(shop, session)
    assert bid_many(shop, session, 1) == [1]
    assert events(shop) == []


def test_a_load_before_the_start_that_dies_leaves_nothing_that_looks_like_a_loss(
    shop: Shop,
) -> None:
    session = shop.session(start_time=clock.now(shop.services.redis) + timedelta(hours=1))
    shop.services.redis.flushdb()
    die_in_the_load(shop, session)
    shop.begin(session)
    assert bid_many(shop, session, 1) == [1]
    assert events(shop) == []


def test_keys_that_expire_before_the_results_are_written_are_no_loss(shop: Shop) -> None:
    session, redis = half_drained(shop), shop.services.redis
    shop.end(session)
    shop.drain(session)
    shop.services.closing._expire_all(session.session_id)
    redis.delete(*[key for key in redis.keys("*") if redis.ttl(key) > 0])
    assert not redis.exists(keys.session_params(session.session_id))
    assert shop.services.closing.close(session.session_id)
    assert events(shop) == []


class NeverLoads:
    """Stands where Redis was away when the session was created."""

    def load(self, _: object) -> None:
        """Leave the session to its first bid."""


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_session_that_has_not_begun_lost_nothing(shop: Shop, is_ended: bool) -> None:
    start = clock.now(shop.services.redis) + timedelta(hours=1)
    session = shop.session(start_time=start)
    if is_ended:
        shop.services.sessions.end_now(session.session_id)
    shop.services.redis.flushdb()
    shop.services.loader.load(session.session_id)
    assert events(shop) == []


def test_entries_deleted_from_the_log_are_a_gap_of_exactly_those(shop: Shop) -> None:
    session = half_drained(shop)
    shop.services.redis.xdel(keys.bid_log(session.session_id), "4-0", "5-0")
    shop.services.redis.delete(keys.session_params(session.session_id))
    assert bid_many(shop, session, 1) == [6]
    assert events(shop) == [("bid_log_gap", {"first_missing": 4, "last_missing": 5})]


def test_the_close_of_a_session_that_was_lost_ranks_what_is_left(shop: Shop) -> None:
    session = half_drained(shop)
    shop.services.redis.flushdb()
    assert shop.close(session)
    assert shop.rows("SELECT rank, sequence FROM rankings ORDER BY rank") == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]
    assert [kind for kind, _ in events(shop)] == ["redis_lost"]
    assert differences(shop, session) == []


def test_verify_lists_recorded_losses_and_takes_them_for_no_difference(shop: Shop) -> None:
    session = half_drained(shop)
    shop.services.redis.flushdb()
    shop.services.loader.load(session.session_id)
    bid_many(shop, session, 1)
    assert differences(shop, session) == []
    assert known(shop, session) == [
        f"sequences 4 to {3 + SKIPPED_SEQUENCES} are recorded as redis_lost"
    ]


def test_verify_accepts_gaps_and_entries_set_aside_once_they_are_recorded(shop: Shop) -> None:
    session = half_drained(shop)
    log = keys.bid_log(session.session_id)
    shop.services.redis.xdel(log, "4-0", "5-0")
    shop.services.redis.xadd(log, {"price": "1"}, id="6-0")
    assert differences(shop, session)
    shop.drain(session)
    shop.services.loader.rebuild(session.session_id)
    assert differences(shop, session) == []
    assert [line.rpartition(" ")[2] for line in known(shop, session)] == [
        "bid_log_gap",
        "bid_log_entry_set_aside",
    ]


def test_a_lost_bid_on_the_board_is_known_until_the_session_is_loaded_anew(shop: Shop) -> None:
    session = half_drained(shop)
    bid_many(shop, session, 1)
    shop.services.redis.xdel(keys.bid_log(session.session_id), "4-0")
    shop.drain(session)
    assert differences(shop, session) == []


def test_a_recorded_loss_hides_no_other_gap(shop: Shop) -> None:
    session = half_drained(shop)
    shop.services.redis.flushdb()
    shop.services.loader.load(session.session_id)
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM bids WHERE sequence = 2")
    assert "sequences 2 to 2 are missing" in differences(shop, session)


def test_skipped_sequences_are_counted_as_no_bids(shop: Shop) -> None:
    session = half_drained(shop)
    shop.services.redis.flushdb()
    bid_many(shop, session, 2)
    stats = shop.services.statistics.read()
    assert (stats.bids_accepted, stats.bids_persisted, stats.persist_backlog) == (5, 3, 2)
    own = shop.services.statistics.of_session(session.session_id)
    assert (own.bids_accepted, own.bids_persisted, own.persist_backlog) == (5, 3, 2)


def test_the_command_shows_what_is_known_to_be_lost(app: Flask, shop: Shop) -> None:
    session = half_drained(shop)
    shop.services.redis.flushdb()
    shop.services.loader.load(session.session_id)
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["verify", str(session.session_id)])
    assert (result.exit_code, "recorded as redis_lost" in result.output) == (0, True)
