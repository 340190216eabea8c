"""Gunicorn settings of the Flask reference: gthread workers, as many as the application has."""

from core.config import load_settings

_settings = load_settings()

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
threads = _settings.web_threads
worker_class = "gthread"
preload_app = True
worker_connections = 1000
backlog = 2048
keepalive = 75
loglevel = "warning"
control_socket_disable = True
