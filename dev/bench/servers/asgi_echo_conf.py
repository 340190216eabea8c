"""Gunicorn's settings for the other yardstick: uvicorn, as many processes as the application's."""

from core.config import load_settings

_settings = load_settings()

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
worker_class = "dev.bench.servers.asgi_echo.Worker"
preload_app = True
backlog = 2048
keepalive = 75
loglevel = "warning"
control_socket_disable = True
