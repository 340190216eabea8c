"""Blocking calls in threads for a loop, and a loop for threads."""

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing
from itertools import count
from math import inf
from threading import Event, get_ident
from typing import Any

import pytest

from core import errors
from core.runtime import Background, EventLoop, Runtime
from core.telemetry.logs import request_id
from dev.embedded.server import wait_until

# Longer than anything here takes.
A_WHILE = 30


@pytest.fixture
def background() -> Iterator[Background]:
    with closing(Background(threads=4, max_wait_seconds=inf)) as background:
        yield background


class Held:
    """A blocking call that takes until the test lets it go. Gives what it was asked with, and
    how often it was called by then.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.has_begun, self.may_end = Event(), Event()

    def __call__(self, value: Any = None) -> tuple[Any, int]:
        self.calls += 1
        number = self.calls
        self.has_begun.set()
        assert self.may_end.wait(A_WHILE)
        return value, number

    async def begun(self) -> None:
        await asyncio.to_thread(self.has_begun.wait, A_WHILE)


async def has_ended(background: Background) -> None:
    """Wait until no call is under way."""
    assert await asyncio.to_thread(wait_until, lambda: not background._running_calls, A_WHILE)


# --- Background ----------------------------------------------------------------------


def test_a_call_gives_what_the_function_gives_and_raises_what_it_raises(
    background: Background,
) -> None:
    async def ask() -> None:
        assert await background.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await background.run(divmod, 7, 0)

    asyncio.run(ask())


def test_a_call_runs_in_another_thread_than_the_loop(background: Background) -> None:
    async def ask() -> tuple[int, int]:
        return get_ident(), await background.run(get_ident)

    own, other = asyncio.run(ask())
    assert own != other


def test_equal_calls_that_are_asked_for_at_once_are_one(background: Background) -> None:
    held = Held()

    async def ask() -> list[Any]:
        asking = asyncio.gather(*[background.run(held, value) for value in "aabab"])
        await held.begun()
        held.may_end.set()
        return await asking

    values = asyncio.run(ask())
    assert [value for value, _ in values] == list("aabab")
    assert held.calls == 2


def test_a_call_is_made_anew_for_who_asks_after_it_has_ended(background: Background) -> None:
    numbers = count(1)

    def call() -> int:
        return next(numbers)

    async def ask() -> list[int]:
        return [await background.run(call), await background.run(call)]

    assert asyncio.run(ask()) == [1, 2]
    assert background._running_calls == {}


def test_what_a_shared_call_raises_all_are_told_and_nobody_after_them(
    background: Background,
) -> None:
    fails = [True]

    def call() -> str:
        if fails.pop():
            raise ValueError("once")
        return "well"

    async def ask() -> list[Any]:
        asked = [background.run(call) for _ in range(3)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        fails.append(False)
        return [*answers, await background.run(call)]

    *failed, last = asyncio.run(ask())
    assert {type(answer) for answer in failed} == {ValueError}
    assert last == "well"


def test_who_waits_too_long_is_told_so_and_the_call_goes_on() -> None:
    held = Held()

    async def ask(background: Background) -> None:
        with pytest.raises(errors.TemporarilyUnavailable):
            await background.run(held, "first")
        # Still the same call, which is shared.
        with pytest.raises(errors.TemporarilyUnavailable):
            await background.run(held, "first")
        assert held.calls == 1
        held.may_end.set()
        await has_ended(background)
        assert await background.run(held, "first") == ("first", 2)

    with closing(Background(threads=1, max_wait_seconds=0.05)) as background:
        asyncio.run(asyncio.wait_for(ask(background), A_WHILE))


def test_an_asker_who_goes_away_takes_the_call_from_nobody(background: Background) -> None:
    held = Held()

    async def ask() -> Any:
        gone = asyncio.create_task(background.run(held))
        await held.begun()
        stays = asyncio.create_task(background.run(held))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        held.may_end.set()
        return await stays

    assert asyncio.run(ask()) == (None, 1)


def test_a_call_carries_the_id_of_the_request_that_asked_first(background: Background) -> None:
    async def ask() -> list[str]:
        request_id.set("r-1")
        first = asyncio.create_task(background.run(request_id.get))
        request_id.set("r-2")
        second = asyncio.create_task(background.run(request_id.get))
        return await asyncio.gather(first, second)

    assert asyncio.run(ask()) == ["r-1", "r-1"]


def test_what_a_call_sets_is_not_the_next_ones(background: Background) -> None:
    def name_it(name: str) -> str:
        before = request_id.get()
        request_id.set(name)
        return before

    async def ask() -> list[str]:
        request_id.set("of-the-caller")
        return [await background.run(name_it, str(number)) for number in range(8)]

    assert asyncio.run(ask()) == ["of-the-caller"] * 8


def test_who_leaves_a_call_waits_for_nothing_and_hears_of_no_error(
    background: Background, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    has_failed = Event()

    def fail() -> None:
        has_failed.set()
        raise ValueError("nobody asks")

    async def leave() -> None:
        background.start(fail)
        await asyncio.to_thread(has_failed.wait, A_WHILE)
        await has_ended(background)

    asyncio.run(leave())
    assert "background_call_failed" in capsys.readouterr().out + caplog.text


def test_no_more_calls_run_at_once_than_there_are_threads() -> None:
    held = [Held() for _ in range(3)]

    async def ask(background: Background) -> None:
        asking = asyncio.gather(*[background.run(each) for each in held])
        await held[0].begun()
        await held[1].begun()
        await asyncio.sleep(0.01)
        assert [each.calls for each in held] == [1, 1, 0]
        for each in held:
            each.may_end.set()
        await asking

    with closing(Background(threads=2, max_wait_seconds=inf)) as background:
        asyncio.run(ask(background))


# --- EventLoop -----------------------------------------------------------------------


async def where() -> tuple[asyncio.AbstractEventLoop, int]:
    return asyncio.get_running_loop(), get_ident()


async def fail() -> None:
    raise ValueError("in the loop")


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    with closing(EventLoop()) as loop:
        yield loop


def test_a_thread_gets_what_a_coroutine_gives_and_what_it_raises(loop: EventLoop) -> None:
    assert loop.run(asyncio.sleep(0, "slept")) == "slept"
    with pytest.raises(ValueError, match="in the loop"):
        loop.run(fail())


def test_all_threads_share_one_loop_in_a_thread_of_its_own(loop: EventLoop) -> None:
    with ThreadPoolExecutor(8) as threads:
        places = set(threads.map(lambda _: loop.run(where()), range(64)))
    assert len(places) == 1
    assert get_ident() not in {thread for _, thread in places}


def test_nothing_is_started_before_it_is_used() -> None:
    before = threading.active_count()
    runtime = Runtime.create(threads=4, max_wait_seconds=inf)
    assert threading.active_count() == before
    runtime.close()


def test_where_the_server_lends_its_loop_everything_runs_in_it() -> None:
    async def serve() -> None:
        loop = EventLoop()
        loop.attach(asyncio.get_running_loop())
        place = await asyncio.to_thread(lambda: loop.run(where()))
        assert place == (asyncio.get_running_loop(), get_ident())
        loop.close()
        assert not asyncio.get_running_loop().is_closed(), "it is the server's to end"

    asyncio.run(serve())


def test_the_servers_loop_takes_the_place_of_an_own_one_which_ends(loop: EventLoop) -> None:
    own, _ = loop.run(where())

    async def serve() -> asyncio.AbstractEventLoop:
        loop.attach(asyncio.get_running_loop())
        lent, _ = await asyncio.to_thread(lambda: loop.run(where()))
        assert lent is asyncio.get_running_loop()
        return lent

    lent = asyncio.run(serve())
    assert lent is not own
    assert own.is_closed()


def test_what_is_still_running_when_the_loop_ends_is_cancelled_and_whoever_waits_is_told() -> None:
    loop, has_begun = EventLoop(), Event()

    async def wait() -> None:
        has_begun.set()
        await asyncio.sleep(A_WHILE)

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: loop.run(wait()))
        assert has_begun.wait(A_WHILE)
        loop.close()
        with pytest.raises(CancelledError):
            waiting.result(A_WHILE)


def test_what_must_happen_before_the_end_happens_in_the_loop(loop: EventLoop) -> None:
    own, _ = loop.run(where())
    ended: list[asyncio.AbstractEventLoop] = []

    async def end() -> None:
        ended.append(asyncio.get_running_loop())

    loop.on_close(end)
    loop.close()
    assert ended == [own]
    loop.close()
    assert ended == [own]


def test_a_loop_that_was_closed_begins_anew(loop: EventLoop) -> None:
    first, _ = loop.run(where())
    loop.close()
    second, _ = loop.run(where())
    assert first is not second
    assert first.is_closed()


def test_a_runtime_ends_its_threads() -> None:
    before = set(threading.enumerate())
    runtime = Runtime.create(threads=4, max_wait_seconds=inf)
    assert runtime.loop.run(runtime.background.run(divmod, 7, 2)) == (3, 1)
    own = set(threading.enumerate()) - before
    assert len(own) >= 2
    runtime.close()
    assert wait_until(lambda: not any(thread.is_alive() for thread in own), A_WHILE)


# --- Forks ---------------------------------------------------------------------------


def test_a_forks_child_has_a_loop_and_threads_of_its_own() -> None:
    runtime = Runtime.create(threads=1, max_wait_seconds=A_WHILE)
    assert runtime.loop.run(runtime.background.run(os.getpid)) == os.getpid()
    child = os.fork()
    if not child:
        # It must not go on as a second pytest, whatever happens.
        code = 1
        try:
            code = 0 if runtime.loop.run(runtime.background.run(os.getpid)) == os.getpid() else 2
            runtime.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert runtime.loop.run(runtime.background.run(os.getpid)) == os.getpid()
    runtime.close()


def test_a_forks_child_ends_nothing_of_its_parents() -> None:
    runtime = Runtime.create(threads=1, max_wait_seconds=A_WHILE)
    place = runtime.loop.run(where())
    child = os.fork()
    if not child:
        code = 1
        try:
            runtime.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert runtime.loop.run(where()) == place
    runtime.close()
