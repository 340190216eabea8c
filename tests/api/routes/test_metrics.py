"""/metrics: every metric of web, core and beat's jobs moves."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from core.bidlog.backlog import BID_BYTES
from core.bidlog.incidents import Incident, record
from core.bootstrap import Services
from core.config import Settings
from core.errors import RateLimited
from core.operations.gauges import StateGauges, read_undrained_bids
from core.redis import keys
from core.telemetry import metrics
from core.telemetry.metric_files import KEEP_SECONDS, Publisher
from tests.api.conftest import CheckedClient, Log
from tests.api.routes.test_service import away, closed_port
from tests.support.broker import broker_away
from tests.support.factories import Shop
from tests.support.http.asgi import opened
from tests.support.http.client import SCRAPER
from tests.support.http.client import scrape as scrape_served
from tests.support.http.serving import serving
from web import create_app

__all__ = ["closed_port"]

Read = Callable[..., float]
ReadAll = Callable[[str], list[Sample]]


@pytest.fixture
def scraped(services: Services, clean: None, tmp_path: Path) -> Flask:
    """An application whose metrics come from a folder of this test."""
    settings = replace(services.settings, metrics_folder=str(tmp_path))
    return create_app(services=replace(services, settings=settings))


@pytest.fixture
def read_all(scraped: Flask, tmp_path: Path) -> ReadAll:
    """Samples of the metrics whose names begin so, as this process publishes them."""

    def published(start: str) -> list[Sample]:
        Publisher(metrics.REGISTRY, str(tmp_path), "web").publish()
        lines = scrape(scraped).splitlines()
        return samples("\n".join(line for line in lines if line.startswith(start)))

    return published


@pytest.fixture
def read(read_all: ReadAll) -> Read:
    """The sum of a metric's samples that have these labels, as this process publishes them."""
    return lambda name, **labels: total(read_all(name), name, **labels)


def total(found: list[Sample], name: str, **labels: str) -> float:
    return sum(s.value for s in found if s.name == name and labels.items() <= s.labels.items())


def samples(text: str) -> list[Sample]:
    return [s for family in text_string_to_metric_families(text) for s in family.samples]


def scrape(app: Flask) -> str:
    """The metrics as Prometheus reads them."""
    answer = app.test_client().get("/metrics", headers=SCRAPER)
    assert answer.status_code == 200, answer.text
    return answer.text


@contextmanager
def moves(read: Read, by: float, name: str, **labels: str) -> Iterator[None]:
    before = read(name, **labels)
    yield
    assert read(name, **labels) == before + by


# What moves


def test_bids_are_counted_by_outcome_and_timed_whichever_way_they_come(
    scraped: Flask,
    read: Read,
    read_all: ReadAll,
    member: CheckedClient,
    shop: Shop,
) -> None:
    session = shop.session()
    shop.services.revocations.load()
    client = scraped.test_client()
    client.environ_base |= member.environ_base
    bid = {"session_id": str(session.session_id), "price": 150}

    def place(price: float, **options: str) -> None:
        client.post("/api/bid", json={**bid, "price": price}, **options)

    def counts(outcome: str) -> list[float]:
        found = read_all("flashbid_bid")
        return [
            total(found, "flashbid_bids_total", outcome=outcome),
            total(found, "flashbid_bid_seconds_count"),
            total(found, "flashbid_bid_script_calls_total", outcome=outcome),
            total(found, "flashbid_bid_script_call_seconds_count"),
            total(found, "flashbid_bid_batch_bids_count"),
            total(found, "flashbid_bid_batch_bids_sum"),
            total(found, "flashbid_bid_doors_total", door="flask"),
        ]

    for content_type in ("application/json", "application/json; charset=UTF-8"):
        price = 150 + len(content_type)
        for outcome, offered in [
            ("accepted", price),
            ("replayed", price),
            ("price_below_upset", 1),
        ]:
            before = counts(outcome)
            place(offered, content_type=content_type)
            assert counts(outcome) == [count + 1 for count in before]
    with moves(read, 1, "flashbid_bids_total", outcome="malformed_json"):
        client.post("/api/bid", data="{", content_type="application/json")


def test_a_bid_by_the_lane_is_counted_as_such(
    scraped: Flask, read: Read, member: CheckedClient, shop: Shop
) -> None:
    body = json.dumps({"session_id": str(shop.session().session_id), "price": 150}).encode()
    token = str(member.environ_base["HTTP_AUTHORIZATION"])
    headers = {"Authorization": token, "Content-Type": "application/json"}
    with (
        opened(scraped) as door,
        moves(read, 1, "flashbid_bid_doors_total", door="lane"),
        moves(read, 0, "flashbid_bid_doors_total", door="flask"),
        moves(read, 1, "flashbid_bids_total", outcome="accepted"),
    ):
        assert door.ask("POST", "/api/bid", body, headers).status == 200


def test_a_hit_of_the_rate_limit_is_counted(read: Read, shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    burst = shop.services.settings.bid_rate_burst
    with moves(read, 1, "flashbid_rate_limit_hits_total", limit="bids"):
        # A slow machine refills the bucket meanwhile.
        bids = (shop.bid(bidder, session, str(150 + price)) for price in range(20 * burst))
        with pytest.raises(RateLimited):
            list(bids)


def test_board_pages_and_other_requests_are_counted(scraped: Flask, read: Read, shop: Shop) -> None:
    client, session = scraped.test_client(), shop.session()
    with (
        moves(read, 1, "flashbid_board_looks_total", outcome="ok"),
        moves(read, 1, "flashbid_board_look_seconds_count"),
    ):
        client.get(f"/api/leaderboard/{session.session_id}")
    route = "GET /api/sessions/active"
    with (
        moves(read, 1, "flashbid_http_requests_total", route=route, status="200"),
        moves(read, 1, "flashbid_http_request_seconds_count", route=route),
    ):
        client.get("/api/sessions/active")
    with moves(read, 1, "flashbid_http_requests_total", route="unmatched", status="404"):
        client.get(f"/{uuid4()}")


def test_backlog_grows_with_bids_and_goes_with_the_drain(
    scraped: Flask, read: Read, shop: Shop
) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    time.sleep(0.05)
    assert read("flashbid_backlog_bids") == 1
    assert 0.05 <= read("flashbid_backlog_oldest_seconds") < 60
    with (
        moves(read, 1, "flashbid_bids_persisted_total"),
        moves(read, 1, "flashbid_drain_batch_rows_count"),
        moves(read, 1, "flashbid_drain_batch_seconds_count"),
    ):
        shop.drain(session)


def test_the_bound_of_the_backlog_is_shown_and_shrinks_with_redis_s_memory(
    read: Read, services: Services
) -> None:
    assert read("flashbid_backlog_max_bids") == services.settings.backlog_max_bids
    used_bytes = services.redis.info("memory")["used_memory"]
    services.redis.config_set("maxmemory", used_bytes * 2)
    try:
        gauges = StateGauges(services.database, services.redis, services.backlog)
        shown = {metric.name: metric.samples[0].value for metric in gauges.collect()}
    finally:
        services.redis.config_set("maxmemory", 0)
    assert 0 < shown["flashbid_backlog_max_bids"] < used_bytes * 2 / BID_BYTES


def test_sessions_due_soon_and_overdue_are_shown(read: Read, shop: Shop) -> None:
    shop.session(duration=timedelta(seconds=30))
    shop.session()
    shop.end(shop.session())
    time.sleep(0.05)
    assert read("flashbid_sessions_running") == 3
    assert read("flashbid_sessions_due_soon") == 1
    assert 0.05 <= read("flashbid_close_overdue_seconds") < 60


def test_a_close_shows_its_lag_and_loads_are_counted_apart(read: Read, shop: Shop) -> None:
    with (
        moves(read, 1, "flashbid_session_loads_total", kind="first"),
        moves(read, 0, "flashbid_session_loads_total", kind="again"),
    ):
        session = shop.session()
    with (
        moves(read, 0, "flashbid_session_loads_total", kind="first"),
        moves(read, 1, "flashbid_session_loads_total", kind="again"),
    ):
        shop.services.redis.delete(keys.session_params(session.session_id))
        shop.bid(shop.bidder(), session, "150")
    with moves(read, 1, "flashbid_close_lag_seconds_count"):
        assert shop.close(session)
    with moves(read, 0, "flashbid_close_lag_seconds_count"):
        assert not shop.close(session)


# What incidents say of lost bids.
LOST = {
    "id": "1-0",
    "first_missing": 1,
    "last_missing": 1,
    "persisted_sequence": 0,
    "next_sequence": 2,
}


@pytest.mark.parametrize("kind", Incident)
def test_losses_and_gaps_are_counted(read: Read, shop: Shop, kind: Incident) -> None:
    session = shop.session()
    with (
        moves(read, 1, "flashbid_session_events_total", kind=kind.value),
        shop.services.database.begin() as db,
    ):
        record(db, session.session_id, kind, **LOST)


def test_members_told_are_counted(read: Read, shop: Shop) -> None:
    session = shop.session()
    for _ in range(3):
        shop.bid(shop.bidder(), session, "150")
    shop.close(session)
    with moves(read, 3, "flashbid_notifications_total", channel="in_app", outcome="delivered"):
        shop.services.announcing.announce(session.session_id, seconds=5)


def test_queues_are_measured(read: Read, services: Services, broker: object) -> None:
    from worker.tasks import close_session  # noqa: PLC0415 - its configuration needs settings

    with (
        moves(read, 1, "flashbid_queue_jobs", queue="sessions"),
        moves(read, 1, "flashbid_jobs_sent_total", task="close_session"),
    ):
        close_session.delay(str(uuid4()))
    assert read("flashbid_broker_up") == 1


# Outages


@pytest.mark.parametrize(("server", "shown"), [("database", "postgresql"), ("redis", "redis")])
def test_an_outage_is_shown_and_takes_nothing_else_away(
    services: Services, closed_port: int, server: str, shown: str
) -> None:
    app = create_app(away(services.settings, closed_port, server))
    text = scrape(app)
    assert f'flashbid_server_up{{server="{shown}"}} 0.0' in text
    assert text.count("flashbid_server_up{") == 2
    assert 'flashbid_processes{role="beat"}' in text


def test_an_outage_of_the_broker_is_shown_and_takes_nothing_else_away(
    scraped: Flask, settings: Settings
) -> None:
    with broker_away(settings.broker_url):
        text = scrape(scraped)
    assert "flashbid_broker_up 0.0" in text
    assert "flashbid_queue_jobs{" not in text
    assert text.count("flashbid_server_up{") == 2
    assert "flashbid_broker_up 1.0" in scrape(scraped)


def test_backlog_is_shown_while_postgresql_is_away(
    services: Services, shop: Shop, tmp_path: Path
) -> None:
    session = shop.session()
    gauges = StateGauges(services.database, services.redis, services.backlog)
    list(gauges.collect())
    shop.bid(shop.bidder(), session, "150")
    assert gauges._sessions is not None
    assert read_undrained_bids(services.redis, gauges._sessions.ids).bids == 1


def test_an_entry_that_makes_no_sense_does_not_stop_the_scrape(read: Read, shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.xadd(keys.bid_log(session.session_id), {"accepted_at": "x"}, id="1-0")
    assert read("flashbid_backlog_bids") == 1
    assert read("flashbid_backlog_oldest_seconds") == 0


# The folder


def publish(folder: Path, age_seconds: float) -> Path:
    Publisher(metrics.REGISTRY, str(folder), "beat").publish()
    [path] = folder.glob("beat-*.json")
    then = time.time() - age_seconds
    os.utime(path, (then, then))
    return path


def shown_of(app: Flask, role: str) -> set[str]:
    return {sample.name for sample in samples(scrape(app)) if sample.labels.get("role") == role}


def test_a_dead_process_shows_its_counts_for_a_while_but_no_gauge(
    scraped: Flask, tmp_path: Path
) -> None:
    publish(tmp_path, age_seconds=KEEP_SECONDS / 2)
    text = scrape(scraped)
    assert 'flashbid_processes{role="beat"} 0.0' in text
    shown = shown_of(scraped, "beat")
    assert "flashbid_bids_persisted_total" in shown
    assert "flashbid_watchers" not in shown


def test_a_process_long_dead_is_forgotten(scraped: Flask, tmp_path: Path) -> None:
    path = publish(tmp_path, age_seconds=KEEP_SECONDS + 1)
    assert shown_of(scraped, "beat") == {"flashbid_processes"}
    assert not path.exists()


def test_two_processes_stand_side_by_side(scraped: Flask, tmp_path: Path) -> None:
    for role in ("web", "beat"):
        Publisher(metrics.REGISTRY, str(tmp_path), role).publish()
    text = scrape(scraped)
    assert text.count("# TYPE flashbid_watchers gauge") == 1
    assert text.count("flashbid_watchers{") == 2


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, log_in: Log) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    publisher = Publisher(metrics.REGISTRY, str(blocked), "web")
    publisher.start()
    publisher.stop()
    assert blocked.read_text() == ""


def test_every_limit_is_shown_before_its_first_hit(clean: None, tmp_path: Path) -> None:
    """A panel without series looks like one that is broken."""
    with serving(METRICS_FOLDER=str(tmp_path)) as port:
        text = scrape_served(port)
    shown = {
        sample.labels["limit"]: sample.value
        for sample in samples(text)
        if sample.name == "flashbid_rate_limit_hits_total"
    }
    names = "bids register-name register login-name login login-account read member-read"
    assert set(names.split()) <= set(shown)
    assert set(shown.values()) == {0}
