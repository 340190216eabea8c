"""Gunicorn's settings, from the same environment as everything else."""

import gc
import os
from typing import Any

from core.config import ConfigError, load_settings
from core.telemetry import logs, metrics
from core.telemetry.metric_files import Publisher

# Allocations between garbage collections: requests leave almost no cycles.
_GC_THRESHOLD = 50_000

try:
    _settings = load_settings()
except ConfigError as error:
    raise SystemExit(f"Flashbid cannot start: {error}") from None

bind = f"{_settings.host}:{_settings.port}"
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

_publisher: Publisher | None = None


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Collect garbage less often, and exclude the objects made before the fork."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def post_worker_init(worker: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Start publishing this worker's metrics."""
    global _publisher  # noqa: PLW0603 - one per process, and gunicorn has no place for it
    _publisher = Publisher(metrics.REGISTRY, _settings.metrics_folder, "web")
    _publisher.start()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Publish the last counts."""
    if _publisher is not None:
        _publisher.stop()
