"""Signal handlers for job metrics and for the request id in jobs' log lines."""

from time import perf_counter
from typing import Any

import structlog
from celery import Task
from celery.signals import (
    after_task_publish,
    beat_init,
    before_task_publish,
    celeryd_init,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
)

from core.telemetry import metrics
from core.telemetry.logs import request_id
from core.telemetry.metric_files import Publisher, require_usable
from core.telemetry.private_folder import NotPrivate
from worker.celery_app import app, settings

_REQUEST_ID = "request_id"
_FAILURE = "failure"
# Celery's built-in tasks are never used.
_TASK_PREFIX = "worker."
_publishers: list[Publisher] = []
_started_at: dict[str, float] = {}


@celeryd_init.connect
@beat_init.connect
def _require_usable_folder(**_: object) -> None:
    """Stop the start on a folder that would show this process as dead."""
    try:
        require_usable(settings().metrics_folder)
    except NotPrivate as error:
        raise SystemExit(f"Flashbid cannot start: {error}") from None


@worker_process_init.connect
def _publish_from_pool(**_: object) -> None:
    """Publish metrics under the names of the worker's queues."""
    _count_failures_from_zero()
    _publish("+".join(sorted(app.amqp.queues.consume_from)))


@beat_init.connect
def _publish_from_beat(**_: object) -> None:
    _publish("beat")


def _count_failures_from_zero() -> None:
    """Start each task's failures at 0, so that Prometheus sees the first one as a rise."""
    for name in app.tasks:
        if name.startswith(_TASK_PREFIX):
            metrics.JOBS.labels(_short_name(name), _FAILURE)


def _publish(role: str) -> None:
    publisher = Publisher(metrics.REGISTRY, settings().metrics_folder, role)
    publisher.start()
    _publishers.append(publisher)


@worker_process_shutdown.connect
def _stop_publishing(**_: object) -> None:
    while _publishers:
        _publishers.pop().stop()


@before_task_publish.connect
def _send_request_id(headers: dict[str, Any], **_: object) -> None:
    headers[_REQUEST_ID] = request_id.get()


@after_task_publish.connect
def _count_sent(sender: str, **_: object) -> None:
    metrics.JOBS_SENT.labels(_short_name(sender)).inc()


@task_prerun.connect
def _start_job(task_id: str, task: Task, **_: object) -> None:
    request_id.set(getattr(task.request, _REQUEST_ID, None) or "")
    structlog.contextvars.bind_contextvars(job=_short_name(task.name), job_id=task_id)
    _started_at[task_id] = perf_counter()


@task_postrun.connect
def _finish_job(task_id: str, task: Task, state: str, **_: object) -> None:
    name = _short_name(task.name)
    metrics.JOBS.labels(name, (state or _FAILURE).lower()).inc()
    metrics.JOB_SECONDS.labels(name).observe(perf_counter() - _started_at.pop(task_id))
    structlog.contextvars.clear_contextvars()
    request_id.set("")


def _short_name(task_name: str) -> str:
    return task_name.rpartition(".")[2]
