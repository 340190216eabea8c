"""What waits for a thread, and for how long."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from threading import Event
from types import SimpleNamespace

import pytest

from core.errors import ServiceBusy
from web.front import overload
from web.front.overload import ThreadQueue

THREADS = 2
MAX_WAIT_SECONDS = 0.2
LONG_SECONDS = 30.0


def run(queue_wait: float, test: Callable[[ThreadQueue, Event], Awaitable[None]]) -> None:
    """A test of a queue all of whose threads are held by work that waits for an event."""

    async def main() -> None:
        queue = ThreadQueue("test", threads=THREADS, max_wait_seconds=queue_wait)
        done = Event()
        held = [asyncio.create_task(queue.run(done.wait)) for _ in range(THREADS)]
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(LONG_SECONDS):
                await test(queue, done)
        finally:
            done.set()
            assert await asyncio.gather(*held) == [True] * THREADS
            queue.close()

    asyncio.run(main())


def test_what_finds_no_thread_in_time_is_refused_and_not_begun() -> None:
    async def wait(queue: ThreadQueue, _: Event) -> None:
        begun = Event()
        with pytest.raises(ServiceBusy):
            await queue.run(begun.set)
        assert not begun.is_set()

    run(MAX_WAIT_SECONDS, wait)


@pytest.mark.parametrize(("share", "is_refused"), [(0.49, False), (0.51, True)])
def test_behind_one_that_waits_long_others_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, share: float, is_refused: bool
) -> None:
    now = 0.0
    monkeypatch.setattr(overload, "time", SimpleNamespace(monotonic=lambda: now))

    async def wait(queue: ThreadQueue, done: Event) -> None:
        nonlocal now
        first = asyncio.create_task(queue.run(lambda: "served"))
        await asyncio.sleep(0)
        now = LONG_SECONDS * share
        second = asyncio.create_task(queue.run(lambda: "served"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert second.done() is is_refused
        done.set()
        assert await first == "served"
        if is_refused:
            with pytest.raises(ServiceBusy):
                await second
        else:
            assert await second == "served"

    run(LONG_SECONDS, wait)


def test_what_is_free_again_goes_to_who_waits_longest() -> None:
    async def wait(queue: ThreadQueue, done: Event) -> None:
        order: list[int] = []
        waiting = []
        for number in range(5):
            waiting.append(asyncio.create_task(queue.run(lambda number=number: number)))
            waiting[-1].add_done_callback(lambda task: order.append(task.result()))
            await asyncio.sleep(0)
        done.set()
        assert await asyncio.gather(*waiting) == list(range(5))
        assert sorted(order) == list(range(5))

    run(LONG_SECONDS, wait)


def test_without_a_bound_all_wait_for_as_long_as_it_takes() -> None:
    async def wait(queue: ThreadQueue, done: Event) -> None:
        waiting = [asyncio.create_task(queue.run(lambda: "served")) for _ in range(50)]
        finished, _ = await asyncio.wait(waiting, timeout=MAX_WAIT_SECONDS * 3)
        assert not finished
        done.set()
        assert await asyncio.gather(*waiting) == ["served"] * 50

    run(inf, wait)


def test_what_the_work_raises_is_raised_and_gives_its_thread_back() -> None:
    async def wait(queue: ThreadQueue, done: Event) -> None:
        done.set()
        for _ in range(THREADS * 2):
            with pytest.raises(ZeroDivisionError):
                await queue.run(lambda: 1 / 0)
        assert await queue.run(lambda: "served") == "served"

    run(LONG_SECONDS, wait)
