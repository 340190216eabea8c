"""`erase-member`: what operators and clients see of it."""

from collections.abc import Callable
from uuid import UUID

import pytest
from click.testing import Result
from flask import Flask

from core.redis import keys
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from web.http.buckets import Buckets
from web.page_cache.results import ResultsPages

Run = Callable[..., Result]


@pytest.fixture
def run(app: Flask) -> Run:
    def run_command(*words: str) -> Result:
        with app.app_context():
            return app.test_cli_runner().invoke(args=list(words))

    return run_command


@pytest.mark.parametrize("by_id", [False, True])
def test_a_member_is_erased_by_name_or_id(
    member: CheckedClient, shop: Shop, run: Run, by_id: bool
) -> None:
    session = shop.session()
    bid = {"session_id": str(session.session_id), "price": 150}
    assert member.post("/api/bid", json=bid).status_code == 200
    user_id = member.account.user_id
    done = run("erase-member", str(user_id) if by_id else "BOB")
    assert (done.exit_code, str(user_id) in done.output) == (0, True)
    answer = member.post("/api/bid", json={**bid, "price": 160})
    assert (answer.status_code, answer.json["code"]) == (403, "account_disabled")
    for path in ("/api/auth/me", f"/api/leaderboard/{session.session_id}/me", "/api/bids/me"):
        assert member.get(path).json["code"] == "account_disabled"
    [entry] = member.get(f"/api/leaderboard/{session.session_id}").json["leaderboard"]
    assert (entry["username"], entry["user_id"]) == ("deleted member", str(user_id))


def test_an_erasure_is_recorded_without_the_name(
    member: CheckedClient, admin: CheckedClient, run: Run
) -> None:
    run("disable-member", "bob")
    user_id = str(member.account.user_id)
    for _ in range(2):
        assert run("erase-member", user_id).exit_code == 0
    actions = admin.get("/api/admin/actions").json
    assert [(each["action"], each["outcome"]) for each in actions] == [
        ("erase-member", "done"),
        ("erase-member", "done"),
        ("disable-member", "done"),
    ]
    assert [each["details"] for each in actions[:2]] == [{"user_id": user_id}] * 2
    assert actions[2]["details"]["username"].startswith("deleted-")


@pytest.mark.parametrize("who", ["nobody", str(UUID(int=1))])
def test_nobody_is_erased_by_mistake(shop: Shop, run: Run, who: str) -> None:
    shop.account("bob")
    done = run("erase-member", who)
    assert (done.exit_code, who in done.stderr) == (1, True)
    assert shop.rows("SELECT username FROM users") == [("bob",)]


def test_nobody_is_erased_when_redis_cannot_refuse_the_tokens(
    member: CheckedClient, shop: Shop, run: Run
) -> None:
    shop.services.redis.set(keys.REVOKED_TOKENS, "no sorted set")
    assert run("erase-member", "bob").exit_code == 1
    assert shop.rows("SELECT erased_at FROM users WHERE username = 'bob'") == [(None,)]
    assert shop.rows("SELECT count(*) FROM deleted_accounts") == [(0,)]


def test_a_kept_page_of_results_forgets_the_name(shop: Shop, run: Run) -> None:
    session = shop.session()
    shop.bid(shop.bidder("Evelina"), session, "150")
    shop.close(session)
    kept, aged = (
        ResultsPages(shop.services.results, Buckets("uncached-pages", 0), max_age_seconds=seconds)
        for seconds in (3600, 0)
    )
    for pages in (kept, aged):
        assert b"Evelina" in pages.page(session.session_id, page=1, page_size=50, reader="x")
    run("erase-member", "evelina")
    assert b"Evelina" in kept.page(session.session_id, page=1, page_size=50, reader="x")
    assert b"Evelina" not in aged.page(session.session_id, page=1, page_size=50, reader="x")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/auth/me"),
        ("GET", "/api/bids/me"),
        ("GET", "/api/notifications"),
        ("PUT", f"/api/notifications/{UUID(int=1)}/read"),
        ("POST", "/api/notifications/read"),
    ],
)
def test_a_token_without_an_account_reads_nothing_even_if_no_list_knows_it(
    member: CheckedClient, shop: Shop, method: str, path: str
) -> None:
    """As after a restored backup with an empty Redis."""
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM users; DELETE FROM deleted_accounts")
    shop.services.redis.flushdb()
    answer = member.open(path, method=method)
    assert (answer.status_code, answer.json["code"]) == (401, "token_invalid")
    bid = {"session_id": str(shop.session().session_id), "price": 150}
    assert member.post("/api/bid", json=bid).json["code"] == "token_invalid"
