"""Every queue is read by a process, and every job survives the death of its process."""

import re
from typing import Any

import pytest
import yaml
from celery import Celery

from core.config import PROJECT_ROOT, Settings
from core.telemetry.metric_files import ROLES
from worker import queues
from worker.celery_app import VISIBILITY_TIMEOUT_SECONDS


@pytest.fixture
def celery(settings: Settings) -> Celery:
    from worker import app  # noqa: PLC0415 - its configuration needs the settings

    app.loader.import_default_modules()
    return app


def tasks(celery: Celery) -> dict[str, Any]:
    return {name: task for name, task in celery.tasks.items() if name.startswith("worker.")}


def procfile() -> dict[str, str]:
    lines = (PROJECT_ROOT / "Procfile").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line)


def readers() -> dict[str, list[str]]:
    """Each Procfile process that reads queues, with these queues."""
    found = {name: re.search(r"--queues[ =](\S+)", command) for name, command in procfile().items()}
    return {name: match[1].split(",") for name, match in found.items() if match}


def test_every_queue_is_read_by_one_process_of_the_procfile() -> None:
    read = [queue for names in readers().values() for queue in names]
    assert sorted(read) == sorted(queues.ALL)


def test_no_process_reads_two_queues() -> None:
    assert all(len(names) == 1 for names in readers().values())


def test_every_queue_is_a_role_of_the_metrics() -> None:
    assert ("web", *queues.ALL, "beat") == ROLES


def test_compose_runs_every_process_of_the_procfile() -> None:
    compose = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
    commands = [service.get("command") for service in compose["services"].values()]
    for process in procfile():
        assert [process] in commands


def test_every_job_goes_to_a_known_queue(celery: Celery) -> None:
    found = tasks(celery)
    assert len(found) >= 7
    for name in found:
        assert celery.amqp.router.route({}, name)["queue"].name in queues.ALL
    assert {queue.name for queue in celery.conf.task_queues} == set(queues.ALL)


def test_a_queue_nobody_reads_cannot_be_sent_to(celery: Celery) -> None:
    with pytest.raises(Exception, match="nobody"):
        celery.amqp.router.route({"queue": "nobody"}, "worker.tasks.persist_bids")


def test_closing_has_a_queue_of_its_own(celery: Celery) -> None:
    by_queue: dict[str, set[str]] = {}
    for name in tasks(celery):
        queue = celery.amqp.router.route({}, name)["queue"].name
        by_queue.setdefault(queue, set()).add(name.rpartition(".")[2])
    assert by_queue[queues.SESSIONS] == {"tick_sessions", "close_session"}
    assert by_queue[queues.EMAILS] == {"send_emails"}
    assert by_queue[queues.WEBHOOKS] == {"send_webhooks"}
    assert by_queue[queues.EXPORTS] == {"make_export", "purge_exports"}
    assert by_queue[queues.BIDS] == {"persist_bids", "sweep_bid_logs"}


def test_every_job_is_acknowledged_after_it_ran(celery: Celery) -> None:
    for name, task in tasks(celery).items():
        assert task.acks_late is True, name
        assert task.reject_on_worker_lost is True, name
        assert task.ignore_result is True, name
        assert task.time_limit is None or task.time_limit <= celery.conf.task_time_limit
    assert celery.conf.task_time_limit < VISIBILITY_TIMEOUT_SECONDS
    assert celery.conf.task_soft_time_limit < celery.conf.task_time_limit
    assert celery.conf.worker_prefetch_multiplier == 1


def test_beat_rings_for_jobs_that_exist(celery: Celery) -> None:
    for entry in celery.conf.beat_schedule.values():
        assert entry["task"] in tasks(celery)


def test_every_chain_of_jobs_has_a_sweep_by_beat(celery: Celery) -> None:
    rung = {entry["task"].rpartition(".")[2] for entry in celery.conf.beat_schedule.values()}
    assert rung == {
        "tick_sessions",
        "sweep_bid_logs",
        "sweep_announcements",
        "sweep_offers",
        "tell_outbid",
        "tell_starting",
        "sweep_deleted_accounts",
        "sweep_weights",
        "fan_out_events",
        "send_webhooks",
        "send_emails",
        "recompute_all_weights",
        "purge_revocations",
        "purge_responses",
        "purge_events",
        "fill_account_keys",
        "sweep_exports",
        "purge_exports",
    }
