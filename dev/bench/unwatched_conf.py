"""Gunicorn's settings for the application without metrics and the members' rate limit.

What they cost is measured against it. The product has a switch for the access log alone,
ACCESS_LOG=off. The four readings of the clock stay, which are within the product's own
functions: all together a fifth of a microsecond.
"""

import hashlib
from runpy import run_path
from typing import Any

from core import scripts
from core.config import PROJECT_ROOT
from core.tally import Tally
from dev.bench.bucketless import without_bucket

globals().update(run_path(str(PROJECT_ROOT / "web" / "gunicorn_conf.py")))


def _count_nothing(_self: Tally, outcome: str, seconds: float) -> None:
    pass


setattr(Tally, "add", _count_nothing)  # noqa: B010 - as no one else may


scripts.place_bid.source = without_bucket(scripts.place_bid.source)
scripts.place_bid.sha = hashlib.sha1(
    scripts.place_bid.source.encode(), usedforsecurity=False
).hexdigest()


def post_worker_init(worker: Any) -> None:
    """Publish nothing."""


def worker_exit(server: Any, worker: Any) -> None:
    """Publish nothing."""
