"""News by e-mail: to members who want it, once, and not when it is too late."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from core.bidding.placing import Bidder
from core.notifications.reminders import AHEAD, Reminders
from core.redis import clock
from core.sessions.sessions import SessionView
from tests.integration.news.outbidding import (
    a_minute_passes,
    look,
    looking,
    want_email,
    watched,
)
from tests.integration.notifications.mail import Mailbox, mailer
from tests.support.factories import Shop

DUE = "SELECT next_attempt_at IS NOT NULL FROM email_deliveries"


def outbid(shop: Shop) -> tuple[SessionView, Bidder]:
    """A member who wants news by e-mail, and is outbid."""
    session, [ada] = watched(shop, 150)
    want_email(shop, ada)
    shop.bid(shop.bidder(), session, "160")
    assert look(shop) == 1
    return session, ada


def starting(shop: Shop) -> tuple[SessionView, Bidder]:
    """A member who wants news by e-mail, and is reminded of a start."""
    services = shop.services
    start = clock.now(services.redis) + AHEAD - timedelta(minutes=1)
    session, ada = shop.session(start_time=start), shop.bidder()
    want_email(shop, ada)
    reminders = Reminders(services.database, services.redis, by_email=True)
    reminders.add(session.session_id, ada.user_id)
    assert reminders.tell_due(seconds=30) == 1
    return session, ada


News = Callable[[Shop], tuple[SessionView, Bidder]]
EITHER = pytest.mark.parametrize(
    ("news", "subject"), [(outbid, "You were outbid"), (starting, "A sale starts soon")]
)


@EITHER
def test_news_is_sent_to_who_wants_it(
    shop: Shop, port: int, mailbox: Mailbox, news: News, subject: str
) -> None:
    news(shop)
    mailer(shop, port).deliver_due(seconds=30)
    assert [message["Subject"] for message in mailbox.got] == [subject]


def test_news_is_not_sent_to_others_nor_while_email_is_off(shop: Shop) -> None:
    session, [ada] = watched(shop, 150)
    shop.bid(shop.bidder(), session, "160")
    assert look(shop) == 1
    want_email(shop, ada)
    a_minute_passes(shop)
    shop.bid(ada, session, "170")
    look(shop)
    shop.bid(shop.bidder(), session, "180")
    assert looking(shop, by_email=False).look(seconds=30) == 1
    assert shop.rows(DUE) == []


def test_what_waits_and_is_new_again_is_one_email(shop: Shop, port: int, mailbox: Mailbox) -> None:
    session, ada = outbid(shop)
    for price in (170, 190):
        shop.bid(ada, session, str(price))
        look(shop)
        a_minute_passes(shop)
        shop.bid(shop.bidder(), session, str(price + 10))
        assert look(shop) == 1
    assert shop.rows(DUE) == [(True,)]
    mailer(shop, port).deliver_due(seconds=30)
    assert len(mailbox.got) == 1


def test_what_was_sent_and_is_new_again_is_another_email(
    shop: Shop, port: int, mailbox: Mailbox
) -> None:
    session, ada = outbid(shop)
    mailer(shop, port).deliver_due(seconds=30)
    shop.bid(ada, session, "170")
    look(shop)
    a_minute_passes(shop)
    shop.bid(shop.bidder(), session, "180")
    assert look(shop) == 1
    mailer(shop, port).deliver_due(seconds=30)
    assert len({message["Message-ID"] for message in mailbox.got}) == 2


@EITHER
@pytest.mark.parametrize("how", ["late", "cancelled"])
def test_news_that_is_too_late_is_not_sent_and_no_failure(
    shop: Shop, port: int, mailbox: Mailbox, news: News, subject: str, how: str
) -> None:
    session, _ = news(shop)
    if how == "cancelled":
        shop.services.session_edits.cancel(session.session_id, "Broken.")
    elif news is starting:
        shop.begin(session)
    else:
        shop.end(session)
    delivered = mailer(shop, port).deliver_due(seconds=30)
    assert not delivered.unfinished
    assert mailbox.got == []
    assert shop.rows(DUE) == []
