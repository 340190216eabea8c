"""Background jobs: draining bid logs, closing sessions, notifications, weights."""

from worker import signals as signals  # importing it registers the signal handlers
from worker.celery_app import app

__all__ = ["app"]
