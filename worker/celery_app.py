"""The Celery application and the settings that keep jobs from being lost.

A job is acknowledged after it has run and returns to its queue when its process dies, so every
job must be safe to run twice. A periodic sweep by beat backs up each chain of jobs.
"""

import logging
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import structlog
from celery import Celery
from celery.apps import worker as celery_worker
from celery.schedules import crontab
from celery.signals import celeryd_init, setup_logging, worker_ready
from kombu.entity import Queue

from core.bootstrap import Services, bootstrap
from core.config import ConfigError, Settings, load_settings, secrets_of
from core.telemetry.logs import configure_logs, hide, log_everything, write_line
from worker import queues

log = structlog.get_logger(__name__)

TASK_SOFT_LIMIT_SECONDS = 240
TASK_HARD_LIMIT_SECONDS = 300
# Longer than any task may run: after it, Redis redelivers an unacknowledged job.
VISIBILITY_TIMEOUT_SECONDS = 3600
# A hanging broker must not block a member's bid: the sweep finds the bid anyway.
BROKER_TIMEOUT_SECONDS = 2
TICK_SECONDS = 1.0
SWEEP_SECONDS = 10.0


def _configuration() -> dict[str, Any]:
    try:
        broker_url = settings().broker_url
    except ConfigError as error:
        raise SystemExit(f"Flashbid cannot start: {error}") from None
    return {
        "broker_url": broker_url,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "task_soft_time_limit": TASK_SOFT_LIMIT_SECONDS,
        "task_time_limit": TASK_HARD_LIMIT_SECONDS,
        "task_queues": [Queue(name) for name in queues.ALL],  # type: ignore[no-untyped-call]
        "task_default_queue": queues.DEFAULT,
        "task_routes": queues.ROUTES,
        "task_create_missing_queues": False,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": BROKER_TIMEOUT_SECONDS,
        "broker_transport_options": _transport_options(broker_url),
        "timezone": "UTC",
        "beat_schedule": _beat_schedule(),
        "beat_max_loop_interval": TICK_SECONDS,
        # Keeps no state on disk: the clock alone decides when a job is due.
        "beat_scheduler": "worker.beat:Scheduler",
    }


def _transport_options(broker_url: str) -> dict[str, Any]:
    """Options that differ between brokers."""
    if not urlsplit(broker_url).scheme.startswith("redis"):
        # RabbitMQ redelivers a job as soon as its worker is gone.
        return {"write_timeout": BROKER_TIMEOUT_SECONDS}
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
        "socket_connect_timeout": BROKER_TIMEOUT_SECONDS,
        "socket_keepalive": True,
        # For publishing only; workers reconnect forever.
        "max_retries": 0,
    }


def _beat_schedule() -> dict[str, dict[str, Any]]:
    """Beat only enqueues. Its jobs expire, so that they do not pile up without a worker."""
    every_tick = {"schedule": TICK_SECONDS, "options": _expiring(TICK_SECONDS * 5)}
    every_sweep = {"schedule": SWEEP_SECONDS, "options": _expiring(SWEEP_SECONDS)}
    return {
        "open-and-close-due-sessions": {"task": "worker.tasks.tick_sessions", **every_tick},
        "sweep-bid-logs": {"task": "worker.tasks.sweep_bid_logs", **every_tick},
        "sweep-deleted-accounts": {"task": "worker.tasks.sweep_deleted_accounts", **every_tick},
        "sweep-offers": {"task": "worker.tasks.sweep_offers", **every_tick},
        "sweep-announcements": {"task": "worker.tasks.sweep_announcements", **every_sweep},
        "tell-outbid": {"task": "worker.tasks.tell_outbid", **every_sweep},
        "tell-starting": {"task": "worker.tasks.tell_starting", **every_sweep},
        "sweep-weights": {"task": "worker.tasks.sweep_weights", **every_sweep},
        "fan-out-events": {"task": "worker.tasks.fan_out_events", **every_tick},
        "sweep-exports": {"task": "worker.tasks.sweep_exports", **every_sweep},
        "send-due-webhooks": {"task": "worker.tasks.send_webhooks", **every_sweep},
        "send-due-emails": {"task": "worker.tasks.send_emails", **every_sweep},
        "recompute-weights-nightly": {
            "task": "worker.tasks.recompute_all_weights",
            "schedule": crontab(hour="3", minute="17"),
        },
        "purge-expired-revocations-nightly": {
            "task": "worker.tasks.purge_revocations",
            "schedule": crontab(hour="4", minute="17"),
        },
        "purge-responses-nightly": {
            "task": "worker.tasks.purge_responses",
            "schedule": crontab(hour="4", minute="27"),
        },
        "purge-events-nightly": {
            "task": "worker.tasks.purge_events",
            "schedule": crontab(hour="4", minute="37"),
        },
        "fill-account-keys-nightly": {
            "task": "worker.tasks.fill_account_keys",
            "schedule": crontab(hour="4", minute="47"),
        },
        "purge-exports-hourly": {
            "task": "worker.tasks.purge_exports",
            "schedule": crontab(minute="27"),
            "options": _expiring(3600),
        },
    }


def _expiring(seconds: float) -> dict[str, float]:
    """`expires` is for workers; `expiration` lets RabbitMQ drop jobs without a worker."""
    return {"expires": seconds, "expiration": seconds}


@cache
def settings() -> Settings:
    """This process's settings."""
    return load_settings(handles_tokens=False)


@cache
def services() -> Services:
    """This process's services. First called after the fork: connections must not cross it."""
    return bootstrap(settings())


# A worker warns before it sets up logging.
@celeryd_init.connect
@setup_logging.connect
def _configure_logs(**_: object) -> None:
    configure_logs(debug=settings().debug)
    hide(secrets_of(settings()))
    log_everything()
    # "Warm shutdown" and the like, which Celery prints from its signals' handlers.
    celery_worker.safe_say = lambda message, *_: write_line(message.strip())
    # Each task logs its own result; two more lines per tick would drown it.
    for ticking in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(ticking).setLevel(logging.WARNING)


@worker_ready.connect
def _log_channels(sender: Any, **_: object) -> None:
    """Log whether a notification channel is on, in the worker that delivers on it."""
    for queue, channel, setting, is_on in (
        (queues.EMAILS, "email", "SMTP_HOST", settings().mail is not None),
        (queues.WEBHOOKS, "webhook", "WEBHOOK_URL", settings().webhook is not None),
    ):
        if queue not in sender.app.amqp.queues.consume_from:
            continue
        if is_on:
            log.info("channel_on", channel=channel)
        else:
            log.warning("channel_off", channel=channel, missing_setting=setting)


app = Celery("flashbid", include=["worker.tasks"], amqp="worker.broker:Amqp")
# Deferred to first use: importing must not require settings.
app.add_defaults(_configuration)
