"""The tasks of news for members, and of old events."""

from datetime import timedelta

import pytest

from core.redis import clock
from tests.integration.news.outbidding import change, kinds, watched
from tests.integration.worker.test_tasks import worker_process
from tests.support.broker import Broker
from tests.support.factories import Shop
from worker import queues, tasks

__all__ = ["worker_process"]

MAILING = [("worker.tasks.send_emails", [])]


def test_looking_twice_tells_once_and_enqueues_the_emails(shop: Shop, broker: Broker) -> None:
    session, [ada] = watched(shop, 150)
    shop.bid(shop.bidder(), session, "160")
    for _ in range(2):
        tasks.tell_outbid()
    assert kinds(shop, ada) == ["outbid"]
    assert broker.queued(queues.EMAILS) == MAILING


def test_telling_of_a_start_twice_tells_once_and_enqueues_the_emails(
    shop: Shop, broker: Broker
) -> None:
    start = clock.now(shop.services.redis) + timedelta(minutes=4)
    session, ada = shop.session(start_time=start), shop.bidder()
    shop.services.reminders.add(session.session_id, ada.user_id)
    for _ in range(2):
        tasks.tell_starting()
    assert kinds(shop, ada) == ["starting"]
    assert broker.queued(queues.EMAILS) == MAILING


@pytest.mark.parametrize("task", ["tell_outbid", "tell_starting"])
def test_with_nothing_to_tell_nothing_is_enqueued(shop: Shop, broker: Broker, task: str) -> None:
    getattr(tasks, task)()
    assert broker.queued(queues.EMAILS) == []


def test_purging_events_twice_purges_once(shop: Shop) -> None:
    session = shop.session()
    shop.close(session)
    shop.services.webhooks.fan_out(seconds=30)
    change(shop, "UPDATE shop_events SET created_at = now() - INTERVAL '31 days'")
    for _ in range(2):
        tasks.purge_events()
    assert shop.rows("SELECT * FROM shop_events") == []
