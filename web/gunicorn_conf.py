"""Gunicorn's settings, from the same environment as everything else."""

import gc
import os
from typing import Any

from core.config import ConfigError, load_settings
from core.telemetry import logs, metrics
from core.telemetry.metric_files import Publisher

# Objects made since the last look for cycles: hardly a request leaves any behind.
_GC_THRESHOLD = 50_000

try:
    _settings = load_settings()
except ConfigError as error:
    raise SystemExit(f"Flashbid cannot start: {error}") from None

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
worker_class = "web.front.server.Worker"
# Workers are forked from a master that has imported everything: a new one serves at once,
# where importing would leave members waiting for seconds at each restart. The application
# connects to nothing before its first request, so no connection crosses the fork.
preload_app = True
backlog = 2048
keepalive = 75
timeout = 30
graceful_timeout = 10
# Its control socket would be shared by every instance of the same user.
control_socket_disable = True
# In memory where the system has that: a container's disk must not stall the heartbeat.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112
# Its own lines look like everybody's; the access log is ours (web/http/access_log.py).
logconfig_dict = {
    "root": {"level": "INFO", "handlers": ["lines"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
    "handlers": {"lines": {"()": logs.line_handler, "debug": _settings.debug}},
    "formatters": {},
}

_publisher: Publisher | None = None


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Collect garbage less often, and never look through what came with the fork."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def post_worker_init(worker: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Publish this worker's metrics from now on."""
    global _publisher  # noqa: PLW0603 - one a process, and gunicorn keeps nothing for us
    _publisher = Publisher(metrics.REGISTRY, _settings.metrics_folder, "web")
    _publisher.start()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Publish the last counts."""
    if _publisher is not None:
        _publisher.stop()
