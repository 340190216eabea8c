"""Erased members: nameless everywhere, and their bids are where they were."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from core import errors
from core.bidding.placing import Bidder
from core.notifications.announcing import Announcing
from core.redis import keys
from core.sessions.sessions import SessionView
from tests.integration.members.gone import (
    DELETED,
    board,
    execute,
    is_valid,
    refusal,
    sale,
)
from tests.support.crashing import Killed
from tests.support.factories import PASSWORD, Shop
from tests.support.racing import wait_for_blocked
from worker import tasks


def dump(shop: Shop) -> str:
    """All that both servers know."""
    tables = shop.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [shop.rows(f"SELECT t::text FROM {table} t") for (table,) in tables]  # noqa: S608
    return f"{rows} {shop.redis_state()}"


@pytest.fixture
def erased(shop: Shop) -> tuple[list[SessionView], list[Bidder]]:
    """Evelina, an admin, is erased. She has bid in a running and in an ended session."""
    account = shop.account("Evelina")
    eve = Bidder(account.user_id, account.username, uuid4().hex)
    shop.services.membership.promote("evelina")
    sessions = []
    for _ in range(2):
        session, [other] = sale(shop, f"other{len(sessions)}")
        shop.bid(eve, session, "170")
        sessions.append(session)
    shop.close(sessions[1])
    Announcing(shop.services.database, by_email=True).announce(sessions[1].session_id, seconds=60)
    execute(shop, "UPDATE users SET weight = 3 WHERE id = :id", id=eve.user_id)
    shop.services.erasure.erase(shop.services.erasure.find("EVELINA"))
    return sessions, [eve, other]


def test_an_erased_member_is_nowhere_by_name(
    shop: Shop, erased: tuple[list[SessionView], list[Bidder]]
) -> None:
    sessions, [eve, _] = erased
    assert "Evelina" not in dump(shop)
    for session in sessions:
        assert board(shop, session)[0] == (1, eve.user_id, DELETED)
    assert shop.rows(
        "SELECT weight, is_admin, disabled_at IS NOT NULL, erased_at IS NOT NULL FROM users"
        " WHERE id = :id",
        id=eve.user_id,
    ) == [(1.0, False, True, True)]
    assert shop.services.redis.get(keys.user_weight(eve.user_id)) is None


def test_an_erased_member_can_do_nothing_and_keeps_its_bids(
    shop: Shop, erased: tuple[list[SessionView], list[Bidder]]
) -> None:
    sessions, [eve, _] = erased
    assert refusal(shop, eve, sessions[0]) is errors.AccountDisabled
    assert not is_valid(shop, eve)
    for name in ("Evelina", username_of(shop, eve)):
        with pytest.raises(errors.InvalidCredentials):
            shop.services.accounts.authenticate(name, PASSWORD)
    for change in (shop.services.membership.enable, shop.services.membership.promote):
        with pytest.raises(errors.AccountNotFound):
            change(username_of(shop, eve))
    shop.close(sessions[0])
    for session in sessions:
        checks = shop.services.audit.verify(session.session_id)
        assert not any(check.differences for check in checks)
    bids = "SELECT count(*) FROM bids WHERE user_id = :id"
    assert shop.rows(bids, id=eve.user_id) == [(2,)]


def username_of(shop: Shop, bidder: Bidder) -> str:
    [(name,)] = shop.rows("SELECT username FROM users WHERE id = :id", id=bidder.user_id)
    return str(name)


def test_an_erased_member_gets_no_mail_and_no_weight(
    shop: Shop, erased: tuple[list[SessionView], list[Bidder]]
) -> None:
    sessions, [eve, _] = erased
    waiting = (
        "SELECT last_error FROM email_deliveries JOIN notifications ON id = notification_id"
        " WHERE user_id = :id AND next_attempt_at IS NULL"
    )
    assert shop.rows(waiting, id=eve.user_id) == [("the account was erased",)]
    shop.close(sessions[0])
    Announcing(shop.services.database, by_email=True).announce(sessions[0].session_id, seconds=60)
    assert shop.rows("SELECT count(*) FROM email_deliveries") == [(3,)]
    tasks.recompute_all_weights()
    assert shop.rows("SELECT weight FROM users WHERE id = :id", id=eve.user_id) == [(1.0,)]
    assert shop.services.redis.get(keys.user_weight(eve.user_id)) is None


def test_erasing_again_changes_nothing(
    shop: Shop, erased: tuple[list[SessionView], list[Bidder]]
) -> None:
    _, [eve, _] = erased
    before = shop.rows("SELECT * FROM users ORDER BY id"), shop.redis_state()
    shop.services.erasure.erase(shop.services.erasure.find(str(eve.user_id)))
    assert (shop.rows("SELECT * FROM users ORDER BY id"), shop.redis_state()) == before
    with pytest.raises(errors.AccountNotFound):
        shop.services.erasure.find("evelina")


def test_the_name_and_the_address_are_free_again(shop: Shop) -> None:
    eve = shop.services.accounts.register("eve", "eve@shop.example", PASSWORD)
    shop.services.erasure.erase(eve.user_id)
    again = shop.services.accounts.register("eve", "eve@shop.example", PASSWORD)
    assert again.user_id != eve.user_id
    assert shop.services.accounts.authenticate("eve", PASSWORD).user_id == again.user_id


def die(*_: Any) -> None:
    raise Killed


@pytest.mark.parametrize(
    "step", ["_pseudonymise", "_revocations.disable", "_settle", "_rename", "_mark_settled"]
)
def test_an_erasure_that_was_killed_is_completed_by_the_sweep_or_has_not_begun(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    session, [eve, _] = sale(shop, "Evelina", "bob")
    owner: Any = shop.services.erasure
    *path, name = step.split(".")
    for part in path:
        owner = getattr(owner, part)
    monkeypatch.setattr(type(owner), name, die)
    with pytest.raises(Killed):
        shop.services.erasure.erase(eve.user_id)
    monkeypatch.undo()
    tasks.sweep_deleted_accounts()
    is_begun = shop.rows("SELECT 1 FROM users WHERE erased_at IS NOT NULL") == [(1,)]
    assert is_begun is (step not in ("_pseudonymise", "_revocations.disable"))
    if not is_begun:
        assert refusal(shop, eve, session, "151") is None
        shop.services.erasure.erase(eve.user_id)
    assert refusal(shop, eve, session) is errors.AccountDisabled
    assert board(shop, session)[0] == (1, eve.user_id, DELETED)
    assert "Evelina" not in dump(shop)


def test_a_load_that_has_read_the_old_name_leaves_none(shop: Shop) -> None:
    session, [eve] = sale(shop, "Evelina")
    shop.drain(session)
    name = keys.standing_bid(session.session_id, eve.user_id)
    with ThreadPoolExecutor() as beside, shop.services.database.begin() as load:
        load.execute(text("SELECT 1 FROM sessions FOR SHARE"))
        erasing = beside.submit(shop.services.erasure.erase, eve.user_id)
        wait_for_blocked(shop)
        shop.services.redis.hset(name, "username", "Evelina")
        load.rollback()
        erasing.result()
    assert shop.services.redis.hget(name, "username") == DELETED
