"""Broker faults: the message lists in Redis."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread, Timer
from typing import Any
from uuid import uuid4

from drill.environment.round_context import BROKER_DB, RoundContext

QUEUES = ("bids", "sessions", "default")
LATE_SECONDS = (0.0, 2.0)
COPIES_AT_ONCE = 5
TWICE_SECONDS = 4.0
SETTLE_SECONDS = 2.0

Seen = Callable[[str, dict[str, Any]], None]


def delete_queues(context: RoundContext) -> None:
    """Delete the queues while a drain waits in one, with the worker down as in a deployment."""
    broker = context.redis(BROKER_DB)
    context.stack["worker"].kill()
    context.wait_for(lambda: broker.llen("bids"), "a drain in the queue")
    context.sleep_between(0.0, 0.5)
    broker.flushdb()
    context.stack.start()
    context.sleep_between(0.0, 0.5)
    broker.flushdb()


def deliver_twice(context: RoundContext) -> None:
    """Deliver each message a second time after a random delay."""

    def again(queue: str, message: dict[str, Any]) -> None:
        delay = context.random.uniform(*LATE_SECONDS)
        Timer(delay, _put, (context, queue, message)).start()

    with _watching(context, again):
        time.sleep(TWICE_SECONDS)
    time.sleep(LATE_SECONDS[1] + 0.5)


def all_at_once(context: RoundContext) -> None:
    """Deliver each drain and each close five more times at once."""

    def many(queue: str, message: dict[str, Any]) -> None:
        for _ in range(COPIES_AT_ONCE):
            _put(context, queue, message)

    with _watching(context, many):
        context.close()
        time.sleep(SETTLE_SECONDS)


def _put(context: RoundContext, queue: str, message: dict[str, Any]) -> None:
    """Queue a copy, marked so that it is not copied again."""
    copy = json.loads(json.dumps(message))
    copy["properties"]["delivery_tag"] = f"copy-{uuid4()}"
    with closing(context.redis(BROKER_DB)) as client:
        client.lpush(queue, json.dumps(copy))


@contextmanager
def _watching(context: RoundContext, seen: Seen) -> Iterator[None]:
    """Call `seen` with every message that is queued."""
    ended = Event()
    ready = Event()
    thread = Thread(target=_watch, args=(context, seen, ready, ended), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        ended.set()
        # Wakes up the monitor: it sees this command.
        context.redis(BROKER_DB).ping()
        thread.join()


def _watch(context: RoundContext, seen: Seen, ready: Event, ended: Event) -> None:
    with context.redis(BROKER_DB).monitor() as monitor:  # type: ignore[no-untyped-call]
        ready.set()
        while not ended.is_set():
            command: Any = monitor.next_command()
            for queue, message in _queued_message(command):
                seen(queue, message)


def _queued_message(command: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The queue and the message, if the command queued one."""
    words = command["command"].split(" ", 2)
    if words[0].upper() != "LPUSH" or words[1] not in QUEUES:
        return
    message = json.loads(words[2])
    if not message["properties"]["delivery_tag"].startswith("copy-"):
        yield words[1], message
