"""Gunicorn's settings for the application without batches: each bid is a script call of its own.

What batches save is measured against it. Single calls do not wait for each other: each goes
over a connection of its own, so that Redis takes many of them at once, too, and flushes its
log once for them.
"""

import asyncio
from collections.abc import Hashable
from runpy import run_path
from typing import Any

from core.bidding import placing
from core.bidding.batches import Batches
from core.config import PROJECT_ROOT

globals().update(run_path(str(PROJECT_ROOT / "web" / "gunicorn_conf.py")))


# On their way at once, of one process: no round has to open a connection.
_CALLS_AT_ONCE = 32


class _Singles(Batches[Any, Any, Any]):
    """Has each item that may not share a call leave as soon as a connection is free."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turns = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def ask(self, group: Any, item: Any, asker: Hashable = None) -> Any:
        if self._max_items > 1:
            return await super().ask(group, item, asker)
        async with self._turns:
            [reply] = await self._call(group, [item])
        return reply


setattr(placing, "Batches", _Singles)  # noqa: B010 - as no one else may
defaults: Any = placing.Bidding.__init__.__kwdefaults__
defaults["max_batch"] = 1
