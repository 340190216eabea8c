"""Members who are shut out: at once, everywhere, and until they are let in again."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask

from core import outages
from core.redis import keys
from tests.api.conftest import CheckedClient
from tests.support.factories import PASSWORD, Shop
from worker import tasks

LOGIN = {"username": "bob", "password": PASSWORD}


def bid(client: CheckedClient, session_id: object, price: int = 150) -> tuple[int, str]:
    answer = client.post("/api/bid", json={"session_id": str(session_id), "price": price})
    return answer.status_code, answer.json.get("code", "")


def test_tokens_of_a_disabled_member_are_refused_at_once(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    assert bid(member, session.session_id)[0] == 200
    shop.services.membership.disable("BOB")
    before = shop.redis_state()
    assert bid(member, session.session_id, 160) == (403, "account_disabled")
    assert bid(member, session.session_id) == (403, "account_disabled")  # not even a replay
    assert shop.redis_state() == before
    for path in ("/api/auth/me", f"/api/leaderboard/{session.session_id}/me", "/api/bids/me"):
        assert member.get(path).json["code"] == "account_disabled"


def test_disabled_member_logs_in_no_more(
    member: CheckedClient, anyone: CheckedClient, shop: Shop
) -> None:
    shop.services.membership.disable("bob")
    answer = anyone.post("/api/auth/login", json=LOGIN)
    assert (answer.status_code, answer.json["code"]) == (403, "account_disabled")
    # Who has no password learns nothing.
    wrong = anyone.post("/api/auth/login", json={**LOGIN, "password": "wrong password"})
    assert wrong.json["code"] == "invalid_credentials"


def test_disabled_member_stays_out_when_redis_forgets(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    shop.services.membership.disable("bob")
    shop.services.redis.flushdb()
    assert bid(member, session.session_id) == (403, "account_disabled")
    assert member.get("/api/auth/me").json["code"] == "account_disabled"
    shop.services.revocations.purge_expired()
    assert bid(member, session.session_id) == (403, "account_disabled")


def test_nobody_else_is_shut_out(member: CheckedClient, admin: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    shop.services.membership.disable("bob")
    assert bid(admin, session.session_id)[0] == 200


def test_standing_bid_of_a_disabled_member_stays_and_can_win(
    member: CheckedClient, shop: Shop
) -> None:
    session = shop.session()
    bid(member, session.session_id)
    shop.services.membership.disable("bob")
    shop.close(session)
    [winner] = shop.services.results.winners(session.session_id)
    assert winner.username == "bob"


def test_member_who_is_let_in_again_is_as_before(
    member: CheckedClient, anyone: CheckedClient, shop: Shop
) -> None:
    session = shop.session()
    membership = shop.services.membership
    for change in (membership.disable, membership.disable, membership.enable, membership.enable):
        assert change("bob") == "bob"
    assert bid(member, session.session_id)[0] == 200
    assert anyone.post("/api/auth/login", json=LOGIN).status_code == 200
    member.post("/api/auth/logout")
    assert bid(member, session.session_id) == (401, "token_revoked")


def test_nobody_is_disabled_when_redis_cannot_be_told(member: CheckedClient, shop: Shop) -> None:
    shop.services.redis.set(keys.REVOKED_TOKENS, "no sorted set")
    with pytest.raises(outages.REDIS):
        shop.services.membership.disable("bob")
    assert shop.rows("SELECT count(*) FROM users WHERE disabled_at IS NOT NULL") == [(0,)]


@contextmanager
def refusing_commits(shop: Shop) -> Iterator[None]:
    """PostgreSQL takes every change of an account, and then does not commit it."""
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE 'no commit' USING ERRCODE = 'connection_failure'; END $$;"
            " CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON users DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    try:
        yield
    finally:
        with shop.services.engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER refuse ON users; DROP FUNCTION refuse()")


def test_nobody_is_let_in_when_the_commit_fails(member: CheckedClient, shop: Shop) -> None:
    shop.services.revocations.load()
    shop.services.membership.disable("bob")
    with refusing_commits(shop), pytest.raises(outages.DATABASE):
        shop.services.membership.enable("bob")
    assert bid(member, shop.session().session_id) == (403, "account_disabled")


def test_a_disabled_member_whose_commit_failed_is_let_in_by_night(
    member: CheckedClient, shop: Shop
) -> None:
    session = shop.session()
    with refusing_commits(shop), pytest.raises(outages.DATABASE):
        shop.services.membership.disable("bob")
    assert bid(member, session.session_id) == (403, "account_disabled")
    assert shop.services.membership.reenable_members() == 1
    assert bid(member, session.session_id)[0] == 200


@pytest.mark.parametrize("by_night", [False, True])
def test_redis_that_was_away_when_a_member_was_let_in_is_told_later(
    app: Flask, member: CheckedClient, shop: Shop, by_night: bool
) -> None:
    session, redis = shop.session(), shop.services.redis
    shop.services.membership.disable("bob")
    redis.rename(keys.REVOKED_TOKENS, "aside")
    redis.set(keys.REVOKED_TOKENS, "no sorted set")
    with app.app_context():
        done = app.test_cli_runner().invoke(args=["enable-member", "bob"])
    assert (done.exit_code, "Repeat this" in done.stderr) == (1, True)
    assert "Nothing was changed" not in done.stderr
    assert shop.rows("SELECT outcome FROM admin_actions") == [("failed",)]
    redis.rename("aside", keys.REVOKED_TOKENS)
    assert bid(member, session.session_id) == (403, "account_disabled")
    if by_night:
        tasks.purge_revocations()
    else:
        shop.services.membership.enable("bob")
    assert bid(member, session.session_id)[0] == 200


def test_letting_in_by_night_leaves_out_who_is_disabled(member: CheckedClient, shop: Shop) -> None:
    shop.services.membership.disable("bob")
    assert shop.services.membership.reenable_members() == 0
    assert bid(member, shop.session().session_id) == (403, "account_disabled")


def test_promoted_and_demoted_members_are_so_at_the_next_request(
    member: CheckedClient, shop: Shop
) -> None:
    shop.services.membership.promote("bob")
    assert member.get("/api/admin/stats").status_code == 200
    shop.services.membership.demote("bob")
    assert member.get("/api/admin/stats").json["code"] == "admin_required"


def test_disabled_admin_administers_no_more(admin: CheckedClient, shop: Shop) -> None:
    shop.services.membership.disable("ada")
    assert admin.get("/api/admin/stats").json["code"] == "account_disabled"


def test_replayed_logged_out_token_achieves_nothing(member: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    member.post("/api/auth/logout")
    before = shop.redis_state()
    for _ in range(20):
        assert bid(member, session.session_id) == (401, "token_revoked")
        assert member.get("/api/auth/me").json["code"] == "token_revoked"
    assert shop.redis_state() == before
