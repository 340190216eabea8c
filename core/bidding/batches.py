"""Batches items that arrive while a call is in flight: the next call sends them together.

One round trip, one fsync or one query then serves many callers. An item never waits for
others: with no call in flight it is sent at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import islice
from math import inf
from typing import Generic, TypeVar

from msgspec import Struct

Item = TypeVar("Item")
Reply = TypeVar("Reply")
Group = TypeVar("Group", bound=Hashable)


class NotSent(Exception):
    """The item was not sent in time."""


class _QueuedItem(Struct, Generic[Item, Reply]):
    item: Item
    reply: "asyncio.Future[Reply | Exception]"
    since: float


class Batches(Generic[Group, Item, Reply]):
    """Batches calls by group: one call in flight for each, groups independent of each other.

    `call(group, items)` returns a reply for each item, in order; an exception is the reply to
    all. An item waits at most `max_wait_seconds` to be sent, and then until its call returns.
    """

    def __init__(
        self,
        call: Callable[[Group, Sequence[Item]], Awaitable[Sequence[Reply]]],
        *,
        max_items: int,
        max_wait_seconds: float,
    ) -> None:
        self._call = call
        self._max_items, self._max_wait_seconds = max_items, max_wait_seconds
        self._queues: dict[Group, _Queue[Item, Reply]] = {}

    async def ask(self, group: Group, item: Item, asker: Hashable = None) -> Reply:
        """The reply. Raises the call's exceptions, and NotSent.

        Items of one asker go in separate calls, in order. None: no other item's asker.
        """
        queue = self._queues.get(group)
        if queue is None:
            queue = self._queues[group] = _Queue(self._max_wait_seconds)
            queue.sender = asyncio.get_running_loop().create_task(self._send_batches(group, queue))
        reply = await queue.add(item, asker)
        if isinstance(reply, Exception):
            # One exception for many callers: its traceback would accumulate all their frames.
            raise reply.with_traceback(None)
        return reply

    async def _send_batches(self, group: Group, queue: "_Queue[Item, Reply]") -> None:
        """Call until the queue is empty."""
        batch: list[_QueuedItem[Item, Reply]] = []
        try:
            while batch := queue.take(self._max_items):
                replies: Sequence[Reply | Exception]
                try:
                    replies = await self._call(group, [each.item for each in batch])
                except Exception as error:  # noqa: BLE001 - raised again by each `ask`
                    replies = [error] * len(batch)
                for each, reply in zip(batch, replies, strict=True):
                    if not each.reply.done():
                        each.reply.set_result(reply)
        finally:
            del self._queues[group]
            queue.close()
            # After a call that was cancelled or returned too few replies.
            for each in batch:
                each.reply.cancel()


class _Queue(Generic[Item, Reply]):
    """Items that wait for one group's next call."""

    def __init__(self, max_wait_seconds: float) -> None:
        self.sender: asyncio.Task[None] | None = None
        self._max_wait_seconds = max_wait_seconds
        self._loop = asyncio.get_running_loop()
        # In the order in which askers are served.
        self._by_asker: dict[Hashable, deque[_QueuedItem[Item, Reply]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sent_at = self._loop.time()

    def add(self, item: Item, asker: Hashable) -> "asyncio.Future[Reply | Exception]":
        now = self._loop.time()
        if now - self._sent_at > self._max_wait_seconds:
            raise NotSent
        reply: asyncio.Future[Reply | Exception] = self._loop.create_future()
        queue = self._by_asker.setdefault(reply if asker is None else asker, deque())
        queue.append(_QueuedItem(item, reply, now))
        if self._timer is None:
            self._timer = self._loop.call_later(self._max_wait_seconds, self._give_up)
        return reply

    def take(self, max_items: int) -> "list[_QueuedItem[Item, Reply]]":
        """The next batch: the first item of each asker."""
        self._sent_at = self._loop.time()
        batch: list[_QueuedItem[Item, Reply]] = []
        for asker in list(islice(self._by_asker, max_items)):
            queue = self._by_asker.pop(asker)
            batch.append(queue.popleft())
            if queue:
                # Back to the end of the line.
                self._by_asker[asker] = queue
        return batch

    def close(self) -> None:
        """Raise NotSent for all items left."""
        if self._timer is not None:
            self._timer.cancel()
        self._drop(until=inf)

    def _give_up(self) -> None:
        """Raise NotSent for items that have waited too long."""
        self._drop(until=self._loop.time() - self._max_wait_seconds)
        again = self._max_wait_seconds / 2
        self._timer = self._loop.call_later(again, self._give_up) if self._by_asker else None

    def _drop(self, *, until: float) -> None:
        """Raise NotSent for items that have waited since `until` or earlier."""
        for asker, queue in list(self._by_asker.items()):
            while queue and queue[0].since <= until:
                reply = queue.popleft().reply
                if not reply.done():
                    reply.set_exception(NotSent())
            if not queue:
                del self._by_asker[asker]
