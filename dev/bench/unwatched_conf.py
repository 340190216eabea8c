"""Gunicorn's settings for the application without metrics: what they cost is measured against it.

The product has no switch for that. An access log has one, ACCESS_LOG=off; no limit of
rates is on a bid's way.
"""

from runpy import run_path
from typing import Any

from core.config import PROJECT_ROOT
from core.tally import Tally

globals().update(run_path(str(PROJECT_ROOT / "web" / "gunicorn_conf.py")))


def _count_nothing(_self: Tally, outcome: str, seconds: float) -> None:
    pass


setattr(Tally, "add", _count_nothing)  # noqa: B010 - as no one else may


def post_worker_init(worker: Any) -> None:
    """Publish nothing."""


def worker_exit(server: Any, worker: Any) -> None:
    """Publish nothing."""
