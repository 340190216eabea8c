"""The Celery broker as tests see it: what waits in its queues, and how to empty them."""

import json
import os
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

from kombu import Connection, Queue
from redis import Redis

from worker import celery_app, queues

NOWHERE = "127.0.0.1:1/0"
Message = tuple[str, list[str]]


class Broker(Protocol):
    """Redis or RabbitMQ."""

    def clear(self) -> None:
        """Empty all queues."""

    def queued(self, queue: str) -> list[Message]:
        """Task and arguments of every message in a queue, oldest first. They stay there."""


class RedisBroker:
    """Kombu keeps a queue as a list, the newest message first."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, decode_responses=True)

    def clear(self) -> None:
        self._redis.flushdb()

    def queued(self, queue: str) -> list[Message]:
        entries: Any = self._redis.lrange(queue, 0, -1)
        messages = [json.loads(entry) for entry in reversed(entries)]
        return [
            (message["headers"]["task"], json.loads(b64decode(message["body"]))[0])
            for message in messages
        ]

    def close(self) -> None:
        self._redis.close()


class RabbitBroker:
    """A message that was got and not acknowledged is back in its place when the channel closes."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)

    def clear(self) -> None:
        with closing(self._connection.channel()) as channel:
            for name in queues.ALL:
                queue = Queue(name)(channel)
                queue.declare()
                queue.purge()

    def queued(self, queue: str) -> list[Message]:
        with closing(self._connection.channel()) as channel:
            messages = iter(Queue(queue)(channel).get, None)
            return [(message.headers["task"], message.payload[0]) for message in messages]

    def close(self) -> None:
        self._connection.release()


def broker_at(url: str) -> RedisBroker | RabbitBroker:
    """The broker behind a CELERY_BROKER_URL."""
    kind = RedisBroker if urlsplit(url).scheme == "redis" else RabbitBroker
    return kind(url)


@contextmanager
def broker_away(url: str) -> Iterator[None]:
    """This process's Celery finds nobody at its broker's address meanwhile."""
    before = os.environ["CELERY_BROKER_URL"]
    _send_to(f"{urlsplit(url).scheme}://{NOWHERE}")
    try:
        yield
    finally:
        _send_to(url)
        os.environ["CELERY_BROKER_URL"] = before


def _send_to(url: str) -> None:
    os.environ["CELERY_BROKER_URL"] = url
    celery_app.app._after_fork()
