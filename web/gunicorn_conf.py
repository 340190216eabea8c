"""Gunicorn's settings, from the same environment as everything else."""

import os

from core.config import ConfigError, load_settings

try:
    _settings = load_settings()
except ConfigError as error:
    raise SystemExit(f"Flashbid cannot start: {error}") from None

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
worker_class = "gthread"
threads = _settings.web_threads
# Workers are forked from a master that has imported everything: a new one serves at once,
# where importing would leave members waiting for seconds at each restart. The application
# connects to nothing before its first request, so no connection crosses the fork.
preload_app = True
# Flash traffic comes in bursts over kept connections.
backlog = 2048
keepalive = 75
timeout = 30
graceful_timeout = 10
# Its control socket would be shared by every instance of the same user.
control_socket_disable = True
# In memory where the system has that: a container's disk must not stall the heartbeat.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112
