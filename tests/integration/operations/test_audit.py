"""`verify` finds every kind of tampering, and nothing where nothing is wrong."""

from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import text

from core.redis import keys
from core.sessions.sessions import SessionView
from tests.support.factories import Shop


def half_drained(shop: Shop) -> SessionView:
    """A session with three bids in `bids` and one in the log only."""
    session = shop.session()
    for price in ("120", "130", "140"):
        shop.bid(shop.bidder(), session, price)
    shop.drain(session)
    shop.bid(shop.bidder(), session, "150")
    return session


def wrong(shop: Shop, session: SessionView) -> set[str]:
    """The checks that find a difference."""
    checks = shop.services.audit.verify(session.session_id)
    return {check.name for check in checks if check.differences}


def execute(shop: Shop, statement: str) -> None:
    with shop.services.engine.begin() as connection:
        connection.execute(text(statement))


def test_an_untouched_session_passes_open_and_ended(shop: Shop) -> None:
    session = half_drained(shop)
    assert wrong(shop, session) == set()
    shop.close(session)
    assert wrong(shop, session) == set()


def test_a_session_that_redis_lost_passes_before_and_after_it_is_loaded(shop: Shop) -> None:
    session = half_drained(shop)
    shop.drain(session)
    shop.services.redis.flushdb()
    assert wrong(shop, session) == set()
    shop.bid(shop.bidder(), session, "160")
    assert wrong(shop, session) == set()


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("UPDATE bids SET score = score * (1 + 2.3e-16) WHERE sequence = 2", "scores"),
        ("UPDATE bids SET weight = 5 WHERE sequence = 2", "scores"),
        ("UPDATE bids SET response_time = 0 WHERE sequence = 2", "scores"),
        ("UPDATE bids SET price = price + 0.01 WHERE sequence = 2", "scores"),
        ("DELETE FROM bids WHERE sequence = 2", "sequences"),
        ("UPDATE bid_log_offsets SET persisted_sequence = 9", "offset"),
    ],
)
def test_tampering_with_postgresql_is_found(shop: Shop, tampering: str, found: str) -> None:
    session = half_drained(shop)
    execute(shop, tampering)
    assert found in wrong(shop, session)


def test_a_sequence_that_is_in_the_rows_and_in_the_log_is_found(shop: Shop) -> None:
    """The key of `bids` lets no sequence in twice, but it knows nothing of the log."""
    session = half_drained(shop)
    columns = "session_id, user_id, price, score, response_time, weight, accepted_at"
    execute(
        shop,
        f"INSERT INTO bids (sequence, {columns}) SELECT 4, {columns} FROM bids WHERE sequence = 2",  # noqa: S608 - our own text
    )
    checks = {check.name: check for check in shop.services.audit.verify(session.session_id)}
    assert "sequence 4 was given twice" in checks["sequences"].shown


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE rankings SET rank = rank + 10",
        "DELETE FROM rankings WHERE rank = 1",
    ],
)
def test_tampering_with_the_results_is_found(shop: Shop, tampering: str) -> None:
    session = half_drained(shop)
    shop.close(session)
    execute(shop, tampering)
    assert {"ranks", "winners"} & wrong(shop, session)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE sessions SET inventory = 1",
        "UPDATE offers SET user_id = gen_random_uuid() WHERE place = 2",
        "UPDATE offers SET rank = 9 WHERE place = 2",
    ],
)
def test_more_offers_than_items_and_offers_to_others_are_found(shop: Shop, tampering: str) -> None:
    session = half_drained(shop)
    shop.close(session)
    execute(
        shop,
        "ALTER TABLE offers DISABLE TRIGGER USER; ALTER TABLE sessions DISABLE TRIGGER USER;"
        f" {tampering};"
        " ALTER TABLE offers ENABLE TRIGGER USER; ALTER TABLE sessions ENABLE TRIGGER USER",
    )
    assert "offers" in wrong(shop, session)


@pytest.mark.parametrize("pricing", ["pay_as_bid", "second_score"])
@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE rankings SET price_to_pay = price_to_pay - 0.01 WHERE rank = 1",
        "UPDATE rankings SET price_to_pay = NULL WHERE rank = 2",
        "UPDATE rankings SET price_to_pay = price - 1 WHERE rank = 4",
        "UPDATE rankings SET response_time = response_time + 1 WHERE rank = 2",
        "UPDATE rankings SET weight = NULL WHERE rank = 4",
    ],
)
def test_a_changed_price_to_pay_is_found(shop: Shop, pricing: str, tampering: str) -> None:
    session = shop.session(pricing=pricing, inventory=2, beta=1.0)
    for price in ("120", "130", "140", "150", "160"):
        shop.bid(shop.bidder(), session, price)
    shop.close(session)
    assert wrong(shop, session) == set()
    execute(shop, tampering)
    assert wrong(shop, session) == {"prices to pay"}


def test_results_by_a_version_without_prices_to_pay_pass(shop: Shop) -> None:
    session = half_drained(shop)
    shop.close(session)
    execute(shop, "UPDATE rankings SET price_to_pay = NULL, response_time = NULL, weight = NULL")
    assert wrong(shop, session) == set()


def test_tampering_with_the_board_is_found(shop: Shop) -> None:
    session = half_drained(shop)
    ranking = keys.ranking(session.session_id)
    [first] = shop.services.redis.zrevrange(ranking, 0, 0)
    shop.services.redis.zincrby(ranking, -5, first)
    assert wrong(shop, session) == {"ranks"}


@pytest.mark.parametrize("allow_lower_bids", [True, False])
def test_a_price_that_fell_is_found_where_it_may_not(shop: Shop, allow_lower_bids: bool) -> None:
    session, bidder = shop.session(allow_lower_bids=True, alpha=0.0), shop.bidder()
    for price in ("150", "120", "130"):
        shop.bid(bidder, session, price)
    shop.drain(session)
    assert wrong(shop, session) == set()
    execute(shop, f"UPDATE sessions SET allow_lower_bids = {allow_lower_bids}")  # noqa: S608
    assert wrong(shop, session) == (set() if allow_lower_bids else {"prices"})


@pytest.mark.parametrize("price", ["149.99", "150.01", "9999999999.99"])
def test_a_highest_bid_that_does_not_stand_is_found_open_and_ended(shop: Shop, price: str) -> None:
    session = half_drained(shop)
    params = keys.session_params(session.session_id)
    shop.services.redis.hset(params, "highest_bid", price)
    assert wrong(shop, session) == {"highest bid"}
    shop.close(session)
    assert wrong(shop, session) == set()
    execute(shop, f"UPDATE sessions SET highest_bid = {price}")  # noqa: S608 - our own text
    assert wrong(shop, session) == {"highest bid"}


def test_an_entry_deleted_from_the_log_is_found(shop: Shop) -> None:
    session = half_drained(shop)
    shop.services.redis.xdel(keys.bid_log(session.session_id), "4-0")
    assert {"sequences", "ranks"} <= wrong(shop, session)


def test_a_redis_older_than_postgresql_is_found(shop: Shop) -> None:
    session = half_drained(shop)
    shop.drain(session)
    shop.services.redis.hset(keys.session_params(session.session_id), "sequence", 1)
    assert "offset" in wrong(shop, session)


def test_a_malformed_entry_is_found(shop: Shop) -> None:
    session = half_drained(shop)
    shop.services.redis.xadd(keys.bid_log(session.session_id), {"price": "1"}, id="5-0")
    assert "log entries" in wrong(shop, session)


def test_the_command_does_not_call_proven_what_it_cannot_check(app: Flask, shop: Shop) -> None:
    session = half_drained(shop)
    shop.drain(session)
    shop.services.redis.flushdb()
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["verify", str(session.session_id)])
    lines = {line.split()[1]: line for line in result.output.splitlines() if line[0] in "✓✗?"}
    assert lines["ranks"].startswith("? ranks        not checked: the session is not in Redis")
    assert lines["highest"].startswith("? highest bid  not checked: the session is not in Redis")
    assert all(
        line.startswith("✓") for name, line in lines.items() if name not in {"ranks", "highest"}
    )
    assert result.exit_code == 1


@pytest.mark.parametrize("session_id", ["nonsense", str(UUID(int=1))])
def test_a_session_that_is_none_is_answered_with_exit_2(
    app: Flask, clean: None, session_id: str
) -> None:
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["verify", session_id])
    assert result.exit_code == 2


def test_the_command_lists_differences_and_exits_1(app: Flask, shop: Shop) -> None:
    session = half_drained(shop)
    command = ["verify", str(session.session_id)]
    runner = app.test_cli_runner()
    with app.app_context():
        assert runner.invoke(args=command).exit_code == 0
        execute(shop, "DELETE FROM bids WHERE sequence = 2")
        result = runner.invoke(args=command)
    assert result.exit_code == 1
    assert "sequences 2 to 2 are missing" in result.output
