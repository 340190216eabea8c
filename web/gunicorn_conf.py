"""Gunicorn's settings, from the same environment as everything else."""

import os
from typing import Any

from gunicorn.glogging import Logger

from core import descriptors, logs, metrics
from core.config import ConfigError, load_settings
from core.publishing import Publisher
from web import early_refusal
from web.answers import common_headers

# For Redis, PostgreSQL, logs, metrics, and what is accepted before the limit is noticed.
_SPARE_DESCRIPTORS = 200

try:
    _settings = load_settings()
except ConfigError as error:
    raise SystemExit(f"Flashbid cannot start: {error}") from None

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
worker_class = "web.flash_worker.FlashWorker"
threads = _settings.web_threads
# Workers are forked from a master that has imported everything: a new one serves at once,
# where importing would leave members waiting for seconds at each restart. The application
# connects to nothing before its first request, so no connection crosses the fork.
preload_app = True
# Flash traffic comes in bursts over kept connections. Each takes some kilobytes while it is
# silent; more than these wait for the system to hand them over.
worker_connections = min(10_000, descriptors.raise_limit() - _SPARE_DESCRIPTORS)
backlog = 2048
keepalive = 75
timeout = 30
# An answer is sent by the main loop, which waits for no reader (web/patient_worker.py).
sendfile = False
graceful_timeout = 10
# Its control socket would be shared by every instance of the same user.
control_socket_disable = True
# Forwarded addresses are read by the application, when TRUSTED_PROXIES says so. Gunicorn's own
# list trusts this machine's processes unasked, with headers that change a request's path, too.
forwarded_allow_ips = ""
# In memory where the system has that: a container's disk must not stall the heartbeat.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112
# Its own lines look like everybody's; the access log is ours (web/access.py).
logconfig_dict = {
    "root": {"level": "INFO", "handlers": ["lines"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
    "handlers": {"lines": {"()": logs.line_handler, "debug": _settings.debug}},
    "formatters": {},
}


class _NoAccessLog(Logger):  # type: ignore[misc]
    """Gunicorn prepares a line for each request as soon as it logs anything our way."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Write nothing: the access log is ours."""


logger_class = _NoAccessLog

_publisher: Publisher | None = None


def post_worker_init(worker: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Publish this worker's metrics from now on, and let no answer lack the common headers."""
    early_refusal.send_always(common_headers(_settings))
    global _publisher  # noqa: PLW0603 - one a process, and gunicorn keeps nothing for us
    _publisher = Publisher(metrics.REGISTRY, _settings.metrics_folder, "web")
    _publisher.start()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - as gunicorn calls it
    """Publish the last counts."""
    if _publisher is not None:
        _publisher.stop()
