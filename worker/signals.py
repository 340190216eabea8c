"""What operators see of jobs: their metrics, and the id of the request they go back to."""

from time import perf_counter
from typing import Any

import structlog
from celery import Task
from celery.signals import (
    after_task_publish,
    beat_init,
    before_task_publish,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
)

from core.telemetry import metrics
from core.telemetry.logs import request_id
from core.telemetry.metric_files import Publisher
from worker.celery_app import app, settings

_REQUEST_ID = "request_id"
_FAILURE = "failure"
# What Celery brings along is not ours, and never used.
_OWN = "worker."
_publishers: list[Publisher] = []
_started_at: dict[str, float] = {}


@worker_process_init.connect
def _publish_from_pool(**_: object) -> None:
    """Each process of a pool is named after the queues it works for."""
    _count_failures_from_zero()
    _publish("+".join(sorted(app.amqp.queues.consume_from)))


@beat_init.connect
def _publish_from_beat(**_: object) -> None:
    _publish("beat")


def _count_failures_from_zero() -> None:
    """From a task's first failure on Prometheus must see them rise, so each begins at 0."""
    for name in app.tasks:
        if name.startswith(_OWN):
            metrics.JOBS.labels(_short(name), _FAILURE)


def _publish(role: str) -> None:
    publisher = Publisher(metrics.REGISTRY, settings().metrics_folder, role)
    publisher.start()
    _publishers.append(publisher)


@worker_process_shutdown.connect
def _publish_last(**_: object) -> None:
    while _publishers:
        _publishers.pop().stop()


@before_task_publish.connect
def _send_request_id(headers: dict[str, Any], **_: object) -> None:
    headers[_REQUEST_ID] = request_id.get()


@after_task_publish.connect
def _count_sent(sender: str, **_: object) -> None:
    metrics.JOBS_SENT.labels(_short(sender)).inc()


@task_prerun.connect
def _begin(task_id: str, task: Task, **_: object) -> None:
    request_id.set(getattr(task.request, _REQUEST_ID, None) or "")
    structlog.contextvars.bind_contextvars(job=_short(task.name), job_id=task_id)
    _started_at[task_id] = perf_counter()


@task_postrun.connect
def _end(task_id: str, task: Task, state: str, **_: object) -> None:
    name = _short(task.name)
    metrics.JOBS.labels(name, (state or _FAILURE).lower()).inc()
    metrics.JOB_SECONDS.labels(name).observe(perf_counter() - _started_at.pop(task_id))
    structlog.contextvars.clear_contextvars()
    request_id.set("")


def _short(task_name: str) -> str:
    return task_name.rpartition(".")[2]
