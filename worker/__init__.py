"""What is done behind the API's back: draining bid logs, closing sessions, weights."""

from worker import signals as signals  # its handlers connect to Celery's signals
from worker.celery_app import app

__all__ = ["app"]
