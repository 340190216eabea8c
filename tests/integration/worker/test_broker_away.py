"""Celery's processes without their broker: lines that are few and JSON, and a prompt return."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from redis import Redis

from core.bootstrap import Services
from core.errors import TemporarilyUnavailable
from dev.embedded import RedisServer
from dev.embedded.server import wait_until
from dev.stack import ProcfileProcess, Stack
from tests.support.broker import NOWHERE
from worker import broker_check, celery_app, enqueue, tasks
from worker.broker import PromptConnection

A_WHILE_SECONDS = 60.0
LINE_BYTES = 2000
TRACEBACKS = 3


def test_an_attempt_follows_soon_however_long_the_broker_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kombu.utils.functional.sleep", lambda _: None)
    intervals: list[float] = []
    connection = PromptConnection(f"redis://{NOWHERE}")
    with pytest.raises(OperationalError):
        connection.ensure_connection(lambda _, interval: intervals.append(interval), 40)
    assert len(intervals) == 40
    assert max(intervals) <= 3


@pytest.mark.usefixtures("settings")
def test_celery_connects_like_that() -> None:
    assert isinstance(celery_app.app.connection_for_read(), PromptConnection)
    assert isinstance(celery_app.app.connection_for_write(), PromptConnection)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "broker")
    with server.running():
        yield server


def url_of(server: RedisServer) -> str:
    return f"redis://127.0.0.1:{server.port()}/0"


def lines(log: Path) -> list[dict[str, Any]]:
    """The log's lines; each must be JSON, and short but for a few with a traceback: Celery's, if
    its broker dies at an unlucky moment.
    """
    written = [(len(line), json.loads(line)) for line in log.read_text().splitlines()]
    long = [line for length, line in written if length >= LINE_BYTES]
    assert all("exception" in line for line in long), long
    assert len(long) <= TRACEBACKS, [line["event"] for line in long]
    return [line for _, line in written]


def count(log: Path, *words: str) -> int:
    return sum(any(word in line for word in words) for line in log.read_text().splitlines())


def revive(worker: ProcfileProcess) -> bool:
    """Celery may exit when its broker dies at an unlucky moment, and is then started again."""
    if not worker.is_running():
        worker.start()
    return True


@pytest.mark.usefixtures("services")
def test_beat_and_worker_write_little_meanwhile_and_go_on_after_it(
    broker: RedisServer, tmp_path: Path
) -> None:
    stack = Stack(tmp_path, {**os.environ, "CELERY_BROKER_URL": url_of(broker)})
    beat, worker = stack["beat"], stack["worker"]
    try:
        beat.start()
        worker.start()
        with closing(Redis(port=broker.port())) as redis:
            assert wait_until(lambda: redis.llen("sessions") >= 2, A_WHILE_SECONDS)
        broker.stop()
        assert wait_until(lambda: count(beat.log, "job_not_sent") >= 4, A_WHILE_SECONDS)
        assert wait_until(
            lambda: revive(worker) and count(worker.log, "Cannot connect") >= 2, A_WHILE_SECONDS
        )
        broker.restart()
        with closing(Redis(port=broker.port())) as redis:
            before = redis.llen("sessions")
            assert wait_until(lambda: redis.llen("sessions") > before, A_WHILE_SECONDS)
            assert wait_until(lambda: revive(worker) and redis.llen("bids") == 0, A_WHILE_SECONDS)
        for process in (beat, worker):
            process.terminate()
            assert process.exit_code(A_WHILE_SECONDS) is not None
    finally:
        stack.kill()
    assert any(line["event"] == "job_not_sent" for line in lines(beat.log))
    assert any("shutdown" in line["event"] for line in lines(worker.log))


@pytest.fixture
def unusable_broker(
    broker: RedisServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """This process's broker is a database that does not exist."""
    url = f"redis://127.0.0.1:{broker.port()}/99"
    monkeypatch.setitem(celery_app.app.conf, "broker_url", url)
    monkeypatch.setitem(celery_app.app.conf, "broker_write_url", url)
    celery_app.app._after_fork()
    yield url
    monkeypatch.undo()
    celery_app.app._after_fork()


@pytest.mark.usefixtures("unusable_broker")
def test_a_job_for_a_broker_that_refuses_is_logged_and_left_to_a_sweep() -> None:
    enqueue.webhooks()
    problem = broker_check.check()
    assert problem is not None
    assert "DB index is out of range" in problem


def test_a_sweep_in_an_outage_is_put_off_and_no_failed_job(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps = [
        tasks.tick_sessions,
        tasks.sweep_bid_logs,
        tasks.sweep_announcements,
        tasks.sweep_weights,
    ]
    monkeypatch.setenv("POSTGRES_PORT", "1")
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", "1")
    celery_app.settings.cache_clear()
    celery_app.services.cache_clear()
    try:
        assert {sweep.apply().state for sweep in sweeps} == {"IGNORED"}
    finally:
        monkeypatch.undo()
        celery_app.settings.cache_clear()
        celery_app.services.cache_clear()


def test_a_refusal_in_a_sweep_is_a_failure() -> None:
    @tasks.put_off_in_an_outage
    def broken() -> None:
        raise TemporarilyUnavailable

    with pytest.raises(TemporarilyUnavailable):
        broken()
