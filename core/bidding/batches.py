"""Gathers what is asked while a call is on its way: it leaves together with the next call.

One round trip, one flush of Redis's log, one query serves everybody who asked meanwhile, and
nobody waits for company: what finds no call on its way leaves at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Reply = TypeVar("Reply")
Group = TypeVar("Group", bound=Hashable)


class NotSent(Exception):
    """The call that this would have left with did not leave in time."""


class _Waiting(NamedTuple, Generic[Item, Reply]):
    item: Item
    reply: "asyncio.Future[Reply | Exception]"
    since: float


class Batches(Generic[Group, Item, Reply]):
    """Calls for groups that do not wait for each other: of each, one call is on its way.

    `call(group, items)` gives a reply for each item, in order. What it raises is the reply to
    all. Each item waits `max_wait_seconds` for its call to leave, and as long as it takes then.
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
        self._gatherings: dict[Group, _Gathering[Item, Reply]] = {}

    async def ask(self, group: Group, item: Item, asker: Hashable = None) -> Reply:
        """The reply. Raises what the call raised, and NotSent.

        One asker's items go in separate calls, in their order. None: an asker of its own.
        """
        gathering = self._gatherings.get(group)
        if gathering is None:
            gathering = self._gatherings[group] = _Gathering(self._max_wait_seconds)
            gathering.carrier = asyncio.get_running_loop().create_task(
                self._carry(group, gathering)
            )
        reply = await gathering.add(item, asker)
        if isinstance(reply, Exception):
            # One error for all: it would keep the frames of everybody it was ever raised to.
            raise reply.with_traceback(None)
        return reply

    async def _carry(self, group: Group, gathering: "_Gathering[Item, Reply]") -> None:
        """Call until nothing waits."""
        batch: list[_Waiting[Item, Reply]] = []
        try:
            while batch := gathering.take(self._max_items):
                replies: Sequence[Reply | Exception]
                try:
                    replies = await self._call(group, [each.item for each in batch])
                except Exception as error:  # noqa: BLE001 - each asker knows what to make of it
                    replies = [error] * len(batch)
                for each, reply in zip(batch, replies, strict=True):
                    if not each.reply.done():
                        each.reply.set_result(reply)
        finally:
            del self._gatherings[group]
            gathering.close()
            # Of a call that was cancelled, or gave too few replies.
            for each in batch:
                each.reply.cancel()


class _Gathering(Generic[Item, Reply]):
    """What waits for one group's next call."""

    def __init__(self, max_wait_seconds: float) -> None:
        self.carrier: asyncio.Task[None] | None = None
        self._max_wait_seconds = max_wait_seconds
        self._loop = asyncio.get_running_loop()
        # By asker, who is next coming first.
        self._queues: dict[Hashable, deque[_Waiting[Item, Reply]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sent_at = self._loop.time()

    def add(self, item: Item, asker: Hashable) -> "asyncio.Future[Reply | Exception]":
        now = self._loop.time()
        if now - self._sent_at > self._max_wait_seconds:
            raise NotSent
        waiting = _Waiting(item, self._loop.create_future(), now)
        queue = self._queues.get(asker) if asker is not None else None
        if queue is None:
            self._queues[waiting.reply if asker is None else asker] = deque((waiting,))
        else:
            queue.append(waiting)
        if self._timer is None and self._max_wait_seconds < float("inf"):
            self._timer = self._loop.call_later(self._max_wait_seconds, self._give_up)
        return waiting.reply

    def take(self, max_items: int) -> "list[_Waiting[Item, Reply]]":
        """What leaves now: the first item of each asker."""
        self._sent_at = self._loop.time()
        batch: list[_Waiting[Item, Reply]] = []
        for asker in list(islice(self._queues, max_items)):
            queue = self._queues.pop(asker)
            batch.append(queue.popleft())
            if queue:
                # Behind the others.
                self._queues[asker] = queue
        return batch

    def close(self) -> None:
        """Let nobody wait for a call that will not be."""
        if self._timer is not None:
            self._timer.cancel()
        self._drop(lambda _: True)

    def _give_up(self) -> None:
        """Let nobody wait too long for the call to leave."""
        since = self._loop.time() - self._max_wait_seconds
        self._drop(lambda waiting: waiting.since <= since)
        again = self._max_wait_seconds / 2
        self._timer = self._loop.call_later(again, self._give_up) if self._queues else None

    def _drop(self, is_late: "Callable[[_Waiting[Item, Reply]], bool]") -> None:
        for asker, queue in list(self._queues.items()):
            while queue and is_late(queue[0]):
                reply = queue.popleft().reply
                if not reply.done():
                    reply.set_exception(NotSent())
            if not queue:
                del self._queues[asker]
