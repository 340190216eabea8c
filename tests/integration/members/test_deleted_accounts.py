"""An account that is gone neither bids nor reads, and its places stay where they were."""

from typing import Any

import pytest
from sqlalchemy import text

from core import errors
from core.bidding.placing import Bidder
from core.notifications.shop_events import session_ended
from core.redis import keys
from core.sessions.sessions import SessionView
from tests.integration.members.gone import (
    DELETED,
    board,
    delete,
    execute,
    expected,
    is_valid,
    refusal,
    sale,
)
from tests.support.factories import Shop
from worker import tasks

# Results, boards and messages


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_results_show_every_rank(shop: Shop, gone: int) -> None:
    session, bidders = sale(shop, "ada", "bob", "cleo")
    shop.close(session)
    delete(shop, bidders[gone - 1])
    found = shop.services.results.get(session.session_id, page=1, page_size=50)
    shown = [(entry.rank, entry.user_id, entry.username) for entry in found.rankings]
    assert shown == board(shop, session) == expected(bidders, gone)
    assert [entry.rank for entry in found.winners] == [1, 2]
    last = shop.services.board.standing(session.session_id, bidders[2].user_id)
    assert (last.rank, last.threshold_score) == (3, found.winners[1].score)


def test_a_webhook_names_every_winner(shop: Shop) -> None:
    session, bidders = sale(shop, "ada", "bob")
    shop.close(session)
    delete(shop, bidders[0])
    with shop.services.database.begin() as db:
        winners = session_ended(db, session.session_id).data["winners"]
    assert [(each["user_id"], each["username"]) for each in winners] == [
        (str(bidders[0].user_id), DELETED),
        (str(bidders[1].user_id), "bob"),
    ]


@pytest.mark.parametrize("is_drained", [True, False])
def test_a_load_brings_back_every_standing_bid(shop: Shop, is_drained: bool) -> None:
    session, bidders = sale(shop, "ada", "bob", "cleo")
    if is_drained:
        shop.drain(session)
    delete(shop, bidders[0])
    shop.services.loader.rebuild(session.session_id)
    assert board(shop, session) == expected(bidders, gone=1)
    shop.close(session)
    assert board(shop, session) == expected(bidders, gone=1)


def test_verify_proves_a_session_whose_winner_is_gone(shop: Shop) -> None:
    session, bidders = sale(shop, "ada", "bob")
    delete(shop, bidders[0])
    shop.services.erasure.settle_due()
    for _ in range(2):
        checks = shop.services.audit.verify(session.session_id)
        assert not any(check.differences or check.obstacle for check in checks)
        shop.close(session)


# Tokens


def test_an_account_deleted_by_hand_can_neither_bid_nor_read(shop: Shop) -> None:
    session, [ada, bob] = sale(shop, "ada", "bob")
    other = shop.session()
    delete(shop, ada)
    tasks.sweep_deleted_accounts()
    for each in (session, other):
        assert refusal(shop, ada, each) is errors.AccountDisabled
        assert refusal(shop, bob, each) is None
    assert not is_valid(shop, ada)
    assert is_valid(shop, bob)
    assert shop.services.redis.get(keys.user_weight(ada.user_id)) is None


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM users WHERE username IN ('ada', 'bob')",
        "WITH gone AS (DELETE FROM users WHERE username <> 'cleo' RETURNING 1) SELECT 1",
        "UPDATE users SET id = gen_random_uuid() WHERE username <> 'cleo'",
        (
            "MERGE INTO users u USING users v ON u.id = v.id AND u.username <> 'cleo'"
            " WHEN MATCHED THEN DELETE"
        ),
    ],
)
def test_however_accounts_are_deleted_the_script_learns_of_it(shop: Shop, statement: str) -> None:
    session, bidders = sale(shop, "ada", "bob", "cleo")
    execute(shop, statement)
    shop.services.erasure.settle_due()
    assert [refusal(shop, bidder, session) for bidder in bidders] == [
        errors.AccountDisabled,
        errors.AccountDisabled,
        None,
    ]


def test_a_deletion_that_is_rolled_back_changes_nothing(shop: Shop) -> None:
    session, [ada] = sale(shop, "ada")
    with shop.services.engine.connect() as connection:
        connection.execute(text("DELETE FROM users"))
        connection.rollback()
    shop.services.erasure.settle_due()
    assert refusal(shop, ada, session) is None


def test_a_row_that_comes_back_at_once_stays_valid(shop: Shop) -> None:
    session, [ada] = sale(shop, "ada")
    execute(
        shop,
        "CREATE TEMP TABLE kept AS SELECT * FROM users;"
        " DELETE FROM users; INSERT INTO users SELECT * FROM kept; DROP TABLE kept",
    )
    shop.services.erasure.settle_due()
    shop.services.revocations.load()
    assert refusal(shop, ada, session) is None


def test_a_row_that_comes_back_later_is_enabled_by_night(shop: Shop) -> None:
    session, [ada] = sale(shop, "ada")
    execute(shop, "CREATE TABLE kept AS SELECT * FROM users; DELETE FROM users")
    shop.services.erasure.settle_due()
    execute(shop, "INSERT INTO users SELECT * FROM kept; DROP TABLE kept")
    assert refusal(shop, ada, session) is errors.AccountDisabled
    tasks.purge_revocations()
    assert refusal(shop, ada, session) is None


def test_a_redis_that_lost_the_list_is_given_deleted_accounts_back(shop: Shop) -> None:
    session, [ada] = sale(shop, "ada")
    delete(shop, ada)
    shop.services.erasure.settle_due()
    shop.services.redis.delete(keys.REVOKED_TOKENS)
    assert refusal(shop, ada, session) is errors.AccountDisabled


def test_one_account_that_cannot_be_settled_does_not_hold_up_the_others(shop: Shop) -> None:
    session, [ada, bob] = sale(shop, "ada", "bob")
    shop.services.redis.set(keys.standing_bid(session.session_id, ada.user_id), "no hash")
    delete(shop, ada)
    delete(shop, bob)
    assert shop.services.erasure.settle_due() == 1
    for bidder in (ada, bob):
        assert not is_valid(shop, bidder)
    assert board_name(shop, session, bob) == DELETED


def board_name(shop: Shop, session: SessionView, bidder: Bidder) -> Any:
    key = keys.standing_bid(session.session_id, bidder.user_id)
    return shop.services.redis.hget(key, "username")


def test_a_deletion_without_a_search_path_is_noticed_too(shop: Shop) -> None:
    session, [ada] = sale(shop, "ada")
    execute(shop, "SET LOCAL search_path = ''; DELETE FROM public.users")
    shop.services.erasure.settle_due()
    assert refusal(shop, ada, session) is errors.AccountDisabled


# A restored backup


def restore_backup(shop: Shop, *lost: Bidder) -> None:
    """PostgreSQL is as it was before these accounts: nothing says that they were there."""
    execute(
        shop,
        "ALTER TABLE users DISABLE TRIGGER USER;"
        " DELETE FROM users WHERE id IN (SELECT unnest(cast(:ids AS uuid[])));"
        " ALTER TABLE users ENABLE TRIGGER USER",
        ids=[str(bidder.user_id) for bidder in lost],
    )


@pytest.mark.parametrize("knows_the_weight", [True, False])
def test_accounts_that_a_backup_does_not_have_are_found(shop: Shop, knows_the_weight: bool) -> None:
    session, [ada, bob] = sale(shop, "ada", "bob")
    restore_backup(shop, bob)
    if not knows_the_weight:
        shop.services.redis.delete(keys.user_weight(bob.user_id))
    assert shop.services.erasure.find_missing() == 1
    assert refusal(shop, bob, session) is errors.AccountDisabled
    assert refusal(shop, ada, session) is None
    assert shop.services.erasure.find_missing() == 0


def test_release_and_the_night_find_them(app: Any, shop: Shop) -> None:
    session, [_, bob, cleo] = sale(shop, "ada", "bob", "cleo")
    restore_backup(shop, bob)
    with app.app_context():
        done = app.test_cli_runner().invoke(args=["init-db"])
    assert (done.exit_code, "1 account" in done.output) == (0, True)
    assert refusal(shop, bob, session) is errors.AccountDisabled
    restore_backup(shop, cleo)
    tasks.purge_revocations()
    assert refusal(shop, cleo, session) is errors.AccountDisabled


def test_a_redis_of_another_shop_is_left_alone(shop: Shop) -> None:
    """As when a command is run with the settings of another database."""
    session, bidders = sale(shop, "ada", "bob")
    restore_backup(shop, *bidders)
    assert shop.services.erasure.find_missing() is None
    assert [refusal(shop, bidder, session) for bidder in bidders] == [None, None]
