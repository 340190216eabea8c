"""Gunicorn settings of the application without batches: one script call per bid.

The reference for measuring batches. Each call uses a separate connection, so that Redis also
processes many of them at once and flushes its log once for all.
"""

import asyncio
from collections.abc import Hashable
from runpy import run_path
from typing import Any

from core.bidding import placing
from core.bidding.batches import Batches
from core.config import PROJECT_ROOT

globals().update(run_path(str(PROJECT_ROOT / "web" / "gunicorn_conf.py")))


# Concurrent calls per process; within the pool, so that no call opens a connection.
_CALLS_AT_ONCE = 32


class _Singles(Batches[Any, Any, Any]):
    """Sends each single item as soon as a connection is free."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turns = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def ask(self, group: Any, item: Any, asker: Hashable = None) -> Any:
        if self._max_items > 1:
            return await super().ask(group, item, asker)
        async with self._turns:
            [reply] = await self._call(group, [item])
        return reply


setattr(placing, "Batches", _Singles)  # noqa: B010 - replaces the product's class
defaults: Any = placing.Bidding.__init__.__kwdefaults__
defaults["max_batch"] = 1
