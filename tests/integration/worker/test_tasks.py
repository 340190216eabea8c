"""The worker's tasks, called for real, and what they leave in the broker's queues."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import text

from core import errors
from core.config import Settings
from core.redis import clock, keys
from core.sessions.sessions import SessionView
from tests.support.broker import Broker, broker_away
from tests.support.factories import Shop
from worker import celery_app, enqueue, queues, tasks


@pytest.fixture(scope="module", autouse=True)
def worker_process(settings: Settings) -> Iterator[None]:
    """This process as a worker: it reads the environment of this run."""
    celery_app.settings.cache_clear()
    celery_app.services.cache_clear()
    yield
    services = celery_app.services()
    services.runtime.close()
    services.redis.close()
    services.engine.dispose()
    celery_app.services.cache_clear()


@pytest.fixture
def broker_comes_back(settings: Settings) -> Iterator[Callable[[], None]]:
    """The broker is away until the test calls this."""
    with ExitStack() as outage:
        outage.enter_context(broker_away(settings.broker_url))
        yield outage.close


def session_with_bids(shop: Shop, bids: int = 3) -> SessionView:
    session = shop.session()
    for _ in range(bids):
        shop.bid(shop.bidder(), session, "120")
    return session


def persisted(shop: Shop) -> int:
    return shop.rows("SELECT count(*) FROM bids")[0][0]


def lose_drain(shop: Shop, session: SessionView) -> None:
    """The scheduled drain does not come, and its time is over."""
    shop.services.redis.hset(keys.session_params(session.session_id), "drain_trusted_until", 1)


# --- Each task twice -----------------------------------------------------------------


def test_persisting_twice_persists_once(shop: Shop) -> None:
    session = session_with_bids(shop)
    for _ in range(2):
        tasks.persist_bids(str(session.session_id))
    assert persisted(shop) == 3


def test_closing_twice_writes_once_and_what_follows_follows_once(
    shop: Shop, broker: Broker
) -> None:
    session = session_with_bids(shop)
    shop.end(session)
    for _ in range(2):
        tasks.close_session(str(session.session_id))
    assert shop.rows("SELECT count(*) FROM rankings") == [(3,)]
    assert broker.queued(queues.DEFAULT) == [
        ("worker.tasks.tell_members", [str(session.session_id)]),
        ("worker.tasks.recompute_weights", [str(session.session_id)]),
    ]


def test_telling_twice_tells_once(shop: Shop) -> None:
    session = session_with_bids(shop)
    shop.close(session)
    for _ in range(2):
        tasks.tell_members(str(session.session_id))
    assert shop.rows("SELECT count(*) FROM notifications") == [(3,)]


def test_a_sweep_enqueues_a_lost_telling_until_it_is_done(shop: Shop, broker: Broker) -> None:
    session = session_with_bids(shop)
    shop.close(session)
    tasks.sweep_announcements()
    assert broker.queued(queues.DEFAULT) == [
        ("worker.tasks.tell_members", [str(session.session_id)])
    ]
    tasks.tell_members(str(session.session_id))
    broker.clear()
    tasks.sweep_announcements()
    assert broker.queued(queues.DEFAULT) == []


def test_a_sweep_enqueues_a_lost_recomputation_of_weights(shop: Shop, broker: Broker) -> None:
    session = session_with_bids(shop)
    shop.close(session)
    with shop.services.engine.begin() as connection:
        connection.execute(text("UPDATE sessions SET published_at = now() - interval '1 hour'"))
    for _ in range(2):
        tasks.sweep_weights()
    assert broker.queued(queues.DEFAULT) == [
        ("worker.tasks.recompute_weights", [str(session.session_id)])
    ]


def test_a_telling_that_takes_too_long_is_continued_by_another_job(
    shop: Shop, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "ANNOUNCE_SECONDS", 0.0)
    monkeypatch.setattr(tasks.services().announcing, "_chunk_members", 2)
    session = session_with_bids(shop)
    shop.close(session)
    tasks.tell_members(str(session.session_id))
    assert shop.rows("SELECT count(*) FROM notifications") == [(2,)]
    assert broker.queued(queues.DEFAULT) == [
        ("worker.tasks.tell_members", [str(session.session_id)])
    ]


def test_a_close_that_comes_too_early_does_nothing(shop: Shop, broker: Broker) -> None:
    session = session_with_bids(shop)
    tasks.close_session(str(session.session_id))
    assert shop.rows("SELECT status FROM sessions") == [("active",)]
    assert broker.queued(queues.DEFAULT) == []


@pytest.mark.parametrize("everybody", [False, True])
def test_recomputing_weights_twice_changes_them_once(shop: Shop, everybody: bool) -> None:
    session = session_with_bids(shop)
    shop.close(session)
    weights = []
    for _ in range(2):
        if everybody:
            tasks.recompute_all_weights()
        else:
            tasks.recompute_weights(str(session.session_id))
        weights.append([row[0] for row in shop.rows("SELECT weight FROM users ORDER BY id")])
    assert weights[0] == pytest.approx(weights[1], abs=1e-6)
    assert all(weight > 1.0 for weight in weights[0])


def test_purging_twice_purges_once(shop: Shop) -> None:
    now = datetime.now(UTC)
    shop.services.revocations.revoke("old", now - timedelta(hours=1))
    shop.services.revocations.revoke("one", now + timedelta(hours=1))
    for _ in range(2):
        tasks.purge_revocations()
    assert shop.rows("SELECT token_id FROM revoked_tokens") == [("one",)]


def test_purging_responses_twice_leaves_those_that_are_repeated(shop: Shop) -> None:
    with shop.services.engine.begin() as connection:
        for key, age in (("old", "24 hours"), ("young", "23 hours")):
            connection.execute(
                text(
                    "INSERT INTO stored_responses VALUES"
                    " (gen_random_uuid(), 'POST /', :key, '', '', now() - cast(:age AS interval))"
                ),
                {"key": key, "age": age},
            )
    for _ in range(2):
        tasks.purge_responses()
    assert shop.rows("SELECT key FROM stored_responses") == [("young",)]


def test_sweeping_twice_enqueues_one_drain(shop: Shop, broker: Broker) -> None:
    session = session_with_bids(shop)
    lose_drain(shop, session)
    for _ in range(2):
        tasks.sweep_bid_logs()
    assert broker.queued(queues.BIDS) == [("worker.tasks.persist_bids", [str(session.session_id)])]


def test_two_ticks_enqueue_one_close(shop: Shop, broker: Broker) -> None:
    over, _ = session_with_bids(shop), session_with_bids(shop)
    shop.end(over)
    for _ in range(2):
        tasks.tick_sessions()
    assert broker.queued(queues.SESSIONS) == [
        ("worker.tasks.close_session", [str(over.session_id)])
    ]


def test_a_tick_enqueues_a_lost_close_again_when_its_claim_has_lapsed(
    shop: Shop, broker: Broker
) -> None:
    over = session_with_bids(shop)
    shop.end(over)
    tasks.tick_sessions()
    shop.services.redis.delete(keys.close_claim(over.session_id))
    tasks.tick_sessions()
    assert len(broker.queued(queues.SESSIONS)) == 2


def test_a_tick_stores_what_has_started(shop: Shop) -> None:
    session = shop.session(start_time=clock.now(shop.services.redis) + timedelta(hours=1))
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE sessions SET start_time = now() - interval '1 s'")
    for _ in range(2):
        tasks.tick_sessions()
    assert shop.rows("SELECT status FROM sessions") == [("active",)]
    assert shop.services.sessions.get(session.session_id).is_active


def test_ticks_with_nothing_to_do_enqueue_nothing(shop: Shop, broker: Broker) -> None:
    session_with_bids(shop)
    tasks.tick_sessions()
    tasks.sweep_bid_logs()
    tasks.sweep_announcements()
    assert [broker.queued(name) for name in queues.ALL] == [[]] * len(queues.ALL)


def test_a_refusal_is_not_retried(shop: Shop, broker: Broker) -> None:
    outcome = tasks.close_session.apply((str(uuid4()),))
    assert isinstance(outcome.result, errors.SessionNotFound)
    assert broker.queued(queues.SESSIONS) == []


# --- From the web tier ---------------------------------------------------------------


def bid(shop: Shop, session: SessionView) -> int:
    """A bid as the web tier places one."""
    placed = shop.services.bidding.place(
        shop.bidder(), session.session_id, Decimal(120), schedule_drain=enqueue.drain
    )
    return placed.sequence


def test_many_bids_enqueue_one_drain(shop: Shop, broker: Broker) -> None:
    session = shop.session()
    assert [bid(shop, session) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert broker.queued(queues.BIDS) == [("worker.tasks.persist_bids", [str(session.session_id)])]


def test_a_close_has_a_queue_of_its_own(shop: Shop, broker: Broker) -> None:
    session_id = shop.session().session_id
    enqueue.close(session_id)
    assert broker.queued(queues.SESSIONS) == [("worker.tasks.close_session", [str(session_id)])]


def test_a_bid_is_accepted_while_the_broker_is_away_and_swept_later(
    shop: Shop, broker: Broker, broker_comes_back: Callable[[], None]
) -> None:
    session = shop.session()
    assert bid(shop, session) == 1
    broker_comes_back()
    assert broker.queued(queues.BIDS) == []
    lose_drain(shop, session)
    tasks.sweep_bid_logs()
    assert broker.queued(queues.BIDS) == [("worker.tasks.persist_bids", [str(session.session_id)])]


def test_after_the_broker_came_back_bids_enqueue_again(
    shop: Shop, broker: Broker, broker_comes_back: Callable[[], None]
) -> None:
    broker_comes_back()
    bid(shop, shop.session())
    assert len(broker.queued(queues.BIDS)) == 1
