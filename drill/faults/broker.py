"""Faults of the broker: its lists of messages in Redis."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread, Timer
from typing import Any
from uuid import uuid4

from drill.environment.scenario import BROKER_DB, Scene

QUEUES = ("bids", "sessions", "default")
LATE_SECONDS = (0.0, 2.0)
COPIES_AT_ONCE = 5
TWICE_SECONDS = 4.0
SETTLE_SECONDS = 2.0

Seen = Callable[[str, dict[str, Any]], None]


def delete_queues(stage: Scene) -> None:
    """While a drain waits in its queue: the worker is away, as when it is deployed anew."""
    broker = stage.redis(BROKER_DB)
    stage.stack["worker"].kill()
    stage.wait(lambda: broker.llen("bids"), "a drain in the queue")
    stage.rest(0.0, 0.5)
    broker.flushdb()
    stage.stack.start()
    stage.rest(0.0, 0.5)
    broker.flushdb()


def deliver_twice(stage: Scene) -> None:
    """Each message once more after a while of chance."""

    def again(queue: str, message: dict[str, Any]) -> None:
        delay = stage.random.uniform(*LATE_SECONDS)
        Timer(delay, _put, (stage, queue, message)).start()

    with _watching(stage, again):
        time.sleep(TWICE_SECONDS)
    time.sleep(LATE_SECONDS[1] + 0.5)


def all_at_once(stage: Scene) -> None:
    """Each drain and each close five times more, at once."""

    def many(queue: str, message: dict[str, Any]) -> None:
        for _ in range(COPIES_AT_ONCE):
            _put(stage, queue, message)

    with _watching(stage, many):
        stage.close()
        time.sleep(SETTLE_SECONDS)


def _put(stage: Scene, queue: str, message: dict[str, Any]) -> None:
    """Put a copy into the queue, marked, so that no copy is copied again."""
    copy = json.loads(json.dumps(message))
    copy["properties"]["delivery_tag"] = f"copy-{uuid4()}"
    with closing(stage.redis(BROKER_DB)) as client:
        client.lpush(queue, json.dumps(copy))


@contextmanager
def _watching(stage: Scene, seen: Seen) -> Iterator[None]:
    """Call `seen` with every message that goes into a queue."""
    ended = Event()
    ready = Event()
    thread = Thread(target=_watch, args=(stage, seen, ready, ended), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        ended.set()
        # The monitor wakes up by its own echo.
        stage.redis(BROKER_DB).ping()
        thread.join()


def _watch(stage: Scene, seen: Seen, ready: Event, ended: Event) -> None:
    with stage.redis(BROKER_DB).monitor() as monitor:  # type: ignore[no-untyped-call]
        ready.set()
        while not ended.is_set():
            said: Any = monitor.next_command()
            for queue, message in _message(said):
                seen(queue, message)


def _message(said: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The queue and the message, when the command put one there."""
    words = said["command"].split(" ", 2)
    if words[0].upper() != "LPUSH" or words[1] not in QUEUES:
        return
    message = json.loads(words[2])
    if not message["properties"]["delivery_tag"].startswith("copy-"):
        yield words[1], message
