"""Gunicorn's settings, from the same environment as everything else."""

import gc
import os
from typing import Any

import structlog

from core.config import ConfigError, host_port, load_settings, secrets_of
from core.config.web import reach_of
from core.telemetry import logs, metrics, open_files
from core.telemetry.metric_files import Publisher, require_usable
from core.telemetry.private_folder import NotPrivate
from web import start_checks

log = structlog.get_logger(__name__)

# Allocations between garbage collections: requests leave almost no cycles.
_GC_THRESHOLD = 50_000

try:
    open_files.ensure_minimum()
    _settings = load_settings()
    require_usable(_settings.metrics_folder)
except (ConfigError, NotPrivate, open_files.TooFewOpenFiles) as error:
    raise SystemExit(f"Flashbid cannot start: {error}") from None

logs.hide(secrets_of(_settings))

bind = host_port(_settings.host, _settings.port)
workers = _settings.web_processes
worker_class = "web.front.server.Worker"
# The master imports everything before it forks, so that a new worker serves at once instead of
# after seconds of imports. The application opens no connection before its first request, so
# none crosses the fork.
preload_app = True
backlog = 2048
keepalive = 75
timeout = 30
graceful_timeout = 10
# All instances of one user would share the control socket.
control_socket_disable = True
# In memory where possible: a slow container disk must not stall the heartbeat.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112
# gunicorn's lines use our format; we write our own access log (web/http/access_log.py).
logconfig_dict = {
    "root": {"level": "INFO", "handlers": ["lines"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
    "handlers": {"lines": {"()": logs.line_handler, "debug": _settings.debug}},
    "formatters": {},
}

logs.log_everything()

_publisher: Publisher | None = None


def when_ready(server: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Say once what an operator may not expect."""
    host, port = _settings.host, _settings.port
    log.info("listening", host=host, port=port, reachable_from=reach_of(host))
    if not _settings.debug and _settings.passwords.allows_weak:
        log.warning(
            "weak_passwords_allowed",
            password_min_length=_settings.passwords.min_length,
            password_refuse_common=_settings.passwords.refuse_common,
            remedy="Set PASSWORD_MIN_LENGTH=12 and PASSWORD_REFUSE_COMMON=true.",
        )


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Collect garbage less often, and exclude the objects made before the fork."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def post_worker_init(worker: Any) -> None:
    """Start publishing this worker's metrics. The first worker checks the servers."""
    global _publisher  # noqa: PLW0603 - one per process, and gunicorn has no place for it
    _publisher = Publisher(metrics.REGISTRY, _settings.metrics_folder, "web")
    _publisher.start()
    if worker.age == 1:
        start_checks.start(_settings)


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Publish the last counts."""
    if _publisher is not None:
        _publisher.stop()
