"""Gunicorn's settings for the application without metrics and the members' rate limit.

What they cost is measured against it. The product has a switch for the access log alone,
ACCESS_LOG=off. The four readings of the clock stay, which are within the product's own
functions: all together a fifth of a microsecond.
"""

import hashlib
from runpy import run_path
from typing import Any

from core.config import PROJECT_ROOT
from core.redis import scripts
from core.telemetry import metrics
from core.telemetry.fast_counter import Tally
from dev.bench.servers.bucketless import without_bucket

globals().update(run_path(str(PROJECT_ROOT / "web" / "gunicorn_conf.py")))


class _Nothing:
    """Counts nothing."""

    def inc(self) -> None:
        pass

    def observe(self, amount: float) -> None:
        pass


def _count_nothing(_self: Tally, outcome: str, seconds: float) -> None:
    pass


# As no one else may.
for owner, name, stand_in in (
    (Tally, "add", _count_nothing),
    (metrics, "BATCH_BIDS", _Nothing()),
):
    setattr(owner, name, stand_in)

scripts.place_bids.source = without_bucket(scripts.place_bids.source)
scripts.place_bids.sha = hashlib.sha1(
    scripts.place_bids.source.encode(), usedforsecurity=False
).hexdigest()


def post_worker_init(worker: Any) -> None:
    """Publish nothing."""


def worker_exit(server: Any, worker: Any) -> None:
    """Publish nothing."""
