"""What is asked while a call is on its way leaves with the next one. No clock of the test's own:
a call stays on its way until the test says otherwise.
"""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Hashable, Sequence
from functools import wraps
from itertools import pairwise
from math import inf
from typing import Any

import pytest

from core.bidding.batches import Batches, NotSent

# Longer than anything here takes.
A_WHILE = 30


class Line:
    """Calls that the test lets go, one by one. The reply to an item is the item itself, after
    the call's number.
    """

    def __init__(self, *, max_items: int = 10, max_wait_seconds: float = inf) -> None:
        self.batches: Batches[str, Any, str] = Batches(
            self._call, max_items=max_items, max_wait_seconds=max_wait_seconds
        )
        # What left, and with which group's call.
        self.left: list[tuple[str, list[Any]]] = []
        self._held: list[asyncio.Event] = []
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def ask(self, item: Any, asker: Hashable = None, group: str = "") -> "asyncio.Task[str]":
        return asyncio.create_task(self.batches.ask(group, item, asker))

    async def has_left(self, calls: int) -> None:
        """Wait until so many calls have left in all."""
        while len(self.left) < calls:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), A_WHILE)

    def answer(self, call: int, error: Exception | None = None) -> None:
        self._error = error
        self._held[call].set()

    async def answer_all(self, calls: int) -> None:
        for call in range(calls):
            await self.has_left(call + 1)
            self.answer(call)

    async def _call(self, group: str, items: Sequence[Any]) -> list[str]:
        number, held = len(self.left), asyncio.Event()
        self._held.append(held)
        self.left.append((group, list(items)))
        self._changed.set()
        await held.wait()
        if self._error:
            raise self._error
        return [f"{number}: {item}" for item in items]


def asynchronous(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that runs in a loop, and leaves none of its tasks behind."""

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def settle() -> None:
    """Let everything go on as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynchronous
async def test_a_lone_item_leaves_at_once() -> None:
    line = Line()
    reply = line.ask("a")
    await settle()
    assert line.left == [("", ["a"])]
    line.answer(0)
    assert await reply == "0: a"


@asynchronous
async def test_what_is_asked_at_one_moment_leaves_together() -> None:
    line = Line()
    replies = [line.ask(item) for item in "abc"]
    await settle()
    assert line.left == [("", ["a", "b", "c"])]
    line.answer(0)
    assert await asyncio.gather(*replies) == ["0: a", "0: b", "0: c"]


@asynchronous
async def test_what_is_asked_while_a_call_is_on_its_way_leaves_with_the_next() -> None:
    line = Line()
    replies = [line.ask("a")]
    await settle()
    for item in "bcd":
        replies.append(line.ask(item))
        await settle()
    assert line.left == [("", ["a"])]
    await line.answer_all(2)
    assert await asyncio.gather(*replies) == ["0: a", "1: b", "1: c", "1: d"]


@asynchronous
async def test_no_more_leave_in_one_call_than_may() -> None:
    line = Line(max_items=3)
    replies = [line.ask(item) for item in range(8)]
    await line.answer_all(3)
    assert [items for _, items in line.left] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    await asyncio.gather(*replies)


@asynchronous
async def test_one_askers_items_go_in_separate_calls_and_in_order() -> None:
    line = Line()
    replies = [line.ask(item, asker="one") for item in "abc"]
    replies.append(line.ask("x", asker="other"))
    await line.answer_all(3)
    assert [items for _, items in line.left] == [["a", "x"], ["b"], ["c"]]
    assert await asyncio.gather(*replies) == ["0: a", "1: b", "2: c", "0: x"]


@asynchronous
async def test_an_item_whose_call_is_on_its_way_does_not_leave_beside_its_askers_next() -> None:
    line = Line()
    first = line.ask("a", asker="one")
    await settle()
    second = line.ask("b", asker="one")
    await settle()
    assert [items for _, items in line.left] == [["a"]]
    await line.answer_all(2)
    assert await asyncio.gather(first, second) == ["0: a", "1: b"]


@asynchronous
async def test_who_asks_for_much_holds_nobody_up() -> None:
    line = Line(max_items=2)
    greedy = [line.ask(f"g{number}", asker="greedy") for number in range(10)]
    modest = [line.ask(name, asker=name) for name in "abc"]
    await line.has_left(1)
    late = line.ask("late", asker="late")
    await settle()
    await line.answer_all(11)
    calls = [items for _, items in line.left]
    assert calls[:3] == [["g0", "a"], ["b", "c"], ["g1", "late"]]
    assert calls[3:] == [[f"g{number}"] for number in range(2, 10)]
    await asyncio.gather(*greedy, *modest, late)


@asynchronous
async def test_groups_do_not_wait_for_each_other() -> None:
    line = Line()
    stuck, free = line.ask("a", group="stuck"), line.ask("b", group="free")
    await settle()
    assert line.left == [("stuck", ["a"]), ("free", ["b"])]
    line.answer(1)
    assert await free == "1: b"
    assert not stuck.done()
    line.answer(0)
    assert await stuck == "0: a"


@asynchronous
async def test_nothing_is_left_behind() -> None:
    line = Line(max_wait_seconds=A_WHILE)
    replies = [line.ask(item, group=str(item % 3)) for item in range(30)]
    await settle()
    assert len(line.batches._queues) == 3
    await line.answer_all(3)
    await asyncio.gather(*replies)
    await settle()
    assert line.batches._queues == {}
    assert asyncio.all_tasks() == {asyncio.current_task()}
    again = line.ask("again", group="0")
    await line.has_left(4)
    line.answer(3)
    assert await again == "3: again"


# --- Calls that fail -----------------------------------------------------------------


class CallFailed(Exception):
    pass


@asynchronous
async def test_what_a_call_raises_reaches_all_of_it_and_none_of_the_next() -> None:
    line, error = Line(max_items=2), CallFailed()
    replies = [line.ask(item) for item in "abc"]
    await line.has_left(1)
    line.answer(0, error)
    await line.has_left(2)
    line.answer(1)
    answers = await asyncio.gather(*replies, return_exceptions=True)
    assert answers == [error, error, "1: c"]


@asynchronous
async def test_an_error_for_many_does_not_keep_all_of_their_frames() -> None:
    line, error = Line(max_items=100), CallFailed()
    depths = []

    async def ask() -> None:
        try:
            await line.batches.ask("", "item")
        except CallFailed as raised:
            depths.append(len(traceback.extract_tb(raised.__traceback__)))

    askers = [asyncio.create_task(ask()) for _ in range(100)]
    await line.has_left(1)
    line.answer(0, error)
    await asyncio.gather(*askers)
    assert depths == [depths[0]] * 100


@pytest.mark.parametrize("replies", [[], ["one"], ["one", "two", "three"]])
def test_nobody_waits_for_ever_when_the_number_of_replies_is_wrong(replies: list[str]) -> None:
    async def ask() -> list[Any]:
        async def call(_: None, items: Sequence[str]) -> list[str]:
            return replies

        batches: Batches[None, str, str] = Batches(call, max_items=2, max_wait_seconds=inf)
        asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
        asking = asyncio.gather(
            *[batches.ask(None, item) for item in "abcd"], return_exceptions=True
        )
        answers = await asyncio.wait_for(asking, A_WHILE)
        assert batches._queues == {}
        return answers

    answers = asyncio.run(ask())
    assert all(isinstance(answer, BaseException | str) for answer in answers[:2])
    assert all(isinstance(answer, NotSent) for answer in answers[2:])


@asynchronous
async def test_nobody_waits_for_ever_when_the_sender_is_cancelled() -> None:
    line = Line(max_items=2)
    replies = [line.ask(item) for item in "abc"]
    await line.has_left(1)
    sender = line.batches._queues[""].sender
    assert sender is not None
    sender.cancel()
    answers = await asyncio.wait_for(asyncio.gather(*replies, return_exceptions=True), A_WHILE)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2 + [NotSent]
    assert line.batches._queues == {}


# --- Waiting too long ----------------------------------------------------------------


@asynchronous
async def test_an_item_whose_call_does_not_leave_is_given_up_and_the_one_on_its_way_is_not() -> (
    None
):
    line = Line(max_wait_seconds=0.05)
    first = line.ask("a")
    await line.has_left(1)
    late = [line.ask(item) for item in "bcd"]
    answers = await asyncio.wait_for(asyncio.gather(*late, return_exceptions=True), A_WHILE)
    assert {type(answer) for answer in answers} == {NotSent}
    assert not first.done(), "it waits as long as its call takes"
    line.answer(0)
    assert await first == "0: a"
    await settle()
    assert line.left == [("", ["a"])], "what was given up does not leave"
    assert line.batches._queues == {}


@asynchronous
async def test_behind_a_call_that_is_stuck_nothing_waits_at_all() -> None:
    line = Line(max_wait_seconds=0.05)
    first = line.ask("a")
    await line.has_left(1)
    await asyncio.sleep(0.06)
    late = line.ask("b")
    await settle()
    assert late.done()
    with pytest.raises(NotSent):
        await late
    line.answer(0)
    assert await first == "0: a"


@asynchronous
async def test_after_a_stuck_call_has_ended_items_are_taken_as_before() -> None:
    line = Line(max_wait_seconds=0.05)
    first = line.ask("a")
    await line.has_left(1)
    await asyncio.sleep(0.06)
    line.answer(0)
    await first
    await settle()
    following = line.ask("b")
    await line.has_left(2)
    line.answer(1)
    assert await following == "1: b"


@asynchronous
async def test_items_that_wait_their_turn_behind_calls_that_leave_are_given_up_too() -> None:
    """As those of one asker, who asks faster than calls come back."""
    line = Line(max_wait_seconds=0.1)
    replies = [line.ask(number, asker="one") for number in range(1000)]
    answering = asyncio.create_task(answer_slowly(line))
    answers = await asyncio.wait_for(asyncio.gather(*replies, return_exceptions=True), A_WHILE)
    answering.cancel()
    given_up = [number for number, answer in enumerate(answers) if isinstance(answer, NotSent)]
    left = [item for _, items in line.left for item in items]
    assert 0 < len(left) < 1000
    assert left == sorted(set(range(1000)) - set(given_up)), "in order, and none that was given up"


async def answer_slowly(line: Line) -> None:
    call = 0
    while True:
        await line.has_left(call + 1)
        await asyncio.sleep(0.02)
        line.answer(call)
        call += 1


# --- Askers that go away -------------------------------------------------------------


@asynchronous
async def test_an_asker_who_goes_away_harms_no_other() -> None:
    line = Line()
    replies = [line.ask(item) for item in "abc"]
    await line.has_left(1)
    following = [line.ask(item) for item in "de"]
    await settle()
    replies[1].cancel()
    following[0].cancel()
    await line.answer_all(2)
    answers = await asyncio.gather(*replies, *following, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["0: a", "", "0: c", "", "1: e"]
    assert line.batches._queues == {}


@asynchronous
async def test_nobody_waits_for_askers_who_have_all_gone_away() -> None:
    line = Line(max_wait_seconds=0.05)
    first = line.ask("a")
    await line.has_left(1)
    gone = [line.ask(item, asker="one") for item in "bc"]
    await settle()
    for asker in gone:
        asker.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    await asyncio.sleep(0.2)
    line.answer(0)
    assert await first == "0: a"
    await settle()
    assert line.batches._queues == {}


@asynchronous
async def test_order_holds_for_every_asker_whatever_comes_between() -> None:
    line = Line(max_items=3)
    replies = [line.ask((name, number), asker=name) for number in range(5) for name in "abcd"]
    answering = asyncio.create_task(answer_slowly(line))
    await asyncio.wait_for(asyncio.gather(*replies), A_WHILE)
    answering.cancel()
    for name in "abcd":
        own = [
            (call, item[1])
            for call, (_, items) in enumerate(line.left)
            for item in items
            if item[0] == name
        ]
        assert [number for _, number in own] == list(range(5))
        assert all(earlier[0] < later[0] for earlier, later in pairwise(own))
