"""Gunicorn settings of the ASGI reference: uvicorn, with as many processes as the application."""

from core.config import load_settings

_settings = load_settings()

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
worker_class = "dev.bench.servers.asgi_echo.AsgiEchoWorker"
preload_app = True
backlog = 2048
keepalive = 75
loglevel = "warning"
control_socket_disable = True
