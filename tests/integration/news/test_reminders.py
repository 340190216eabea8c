"""Members who asked for it hear that a session starts, once."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event

from core import errors
from core.bidding.placing import Bidder
from core.notifications import reminders
from core.notifications.reminders import AHEAD
from core.redis import clock
from core.sessions.sessions import SessionView
from tests.integration.news.outbidding import change, kinds, notices
from tests.support.crashing import Killed
from tests.support.factories import Shop

SOON = AHEAD - timedelta(seconds=30)


def reminded(shop: Shop, ahead: timedelta = SOON) -> tuple[SessionView, Bidder]:
    """A session that starts so far ahead, and a member who is reminded of it."""
    session = shop.session(start_time=clock.now(shop.services.redis) + ahead)
    bidder = shop.bidder()
    shop.services.reminders.add(session.session_id, bidder.user_id)
    return session, bidder


def tell(shop: Shop) -> int:
    return shop.services.reminders.tell_due(seconds=30)


def listed(shop: Shop, bidder: Bidder) -> list[UUID]:
    found, total = shop.services.reminders.of_member(bidder.user_id, page=1, page_size=50)
    assert total == len(found)
    return [reminder.session_id for reminder in found]


def test_who_asked_for_it_is_told_once(shop: Shop) -> None:
    session, ada = reminded(shop)
    bob = shop.bidder()
    assert (tell(shop), tell(shop)) == (1, 0)
    [notice] = notices(shop, ada)
    assert (notice.kind, notice.session_id) == ("starting", session.session_id)
    start = f"{session.start_time:%Y-%m-%d %H:%M} UTC"
    assert notice.message == f"Item starts soon, at {start}."
    assert notices(shop, bob) == []
    assert listed(shop, ada) == [session.session_id]


def test_nobody_is_told_earlier(shop: Shop) -> None:
    reminded(shop, AHEAD + timedelta(minutes=1))
    assert tell(shop) == 0


def test_all_are_told_in_chunks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    session, _ = reminded(shop)
    for _ in range(4):
        shop.services.reminders.add(session.session_id, shop.account().user_id)
    fewer = str(reminders._TELL).replace(f"LIMIT {reminders._CHUNK_MEMBERS}", "LIMIT 2")
    monkeypatch.setattr(reminders, "_TELL", reminders.text(fewer))
    assert tell(shop) == 5


def test_reminders_are_forgotten_once_the_session_has_started(shop: Shop) -> None:
    session, ada = reminded(shop)
    shop.begin(session)
    assert listed(shop, ada) == []
    assert tell(shop) == 0
    assert shop.rows("SELECT * FROM reminders") == []


def test_reminders_of_a_cancelled_session_are_forgotten(shop: Shop) -> None:
    session, ada = reminded(shop)
    shop.services.session_edits.cancel(session.session_id, "Broken.")
    assert listed(shop, ada) == []
    assert tell(shop) == 0
    assert shop.rows("SELECT * FROM reminders") == []


def test_a_moved_start_tells_nobody_again(shop: Shop) -> None:
    session, ada = reminded(shop)
    assert tell(shop) == 1
    shop.move_start(session, session.start_time + timedelta(minutes=20))
    shop.services.reminders.add(session.session_id, ada.user_id)
    shop.move_start(session, session.start_time)
    assert tell(shop) == 0
    assert kinds(shop, ada) == ["starting"]


def test_killed_before_the_commit_it_tells_the_next_time_and_once(shop: Shop) -> None:
    reminded(shop)

    def die(*_: object) -> None:
        raise Killed

    event.listen(shop.services.database, "before_commit", die)
    try:
        with pytest.raises(Killed):
            tell(shop)
    finally:
        event.remove(shop.services.database, "before_commit", die)
    assert shop.rows("SELECT * FROM notifications") == []
    assert (tell(shop), tell(shop)) == (1, 0)


def test_a_disabled_member_is_not_told(shop: Shop) -> None:
    _, ada = reminded(shop)
    change(shop, "UPDATE users SET disabled_at = now() WHERE id = :id", id=ada.user_id)
    assert tell(shop) == 0


def test_reminders_are_erased_with_the_member(shop: Shop) -> None:
    _, ada = reminded(shop)
    shop.services.accounts.want_email_news(ada.user_id, True)
    shop.services.erasure.erase(ada.user_id)
    assert shop.rows("SELECT * FROM reminders") == []
    assert shop.rows("SELECT email_news FROM users WHERE erased_at IS NOT NULL") == [(False,)]


def test_reminders_go_with_an_account_that_is_deleted_by_hand(shop: Shop) -> None:
    _, ada = reminded(shop)
    change(shop, "DELETE FROM users WHERE id = :id", id=ada.user_id)
    assert shop.rows("SELECT * FROM reminders") == []


def test_a_session_that_has_started_or_is_over_reminds_nobody(shop: Shop) -> None:
    ada = shop.account()
    session = shop.session()
    add = shop.services.reminders.add
    with pytest.raises(errors.SessionAlreadyStarted, match="bid now"):
        add(session.session_id, ada.user_id)
    shop.end(session)
    with pytest.raises(errors.SessionEnded):
        add(session.session_id, ada.user_id)
