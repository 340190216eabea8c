"""Flat combining: Redis calls made by several threads at once travel as one pipeline.

While one thread waits for its reply, the others line up; then the first of them sends
all their commands together. One system call and one switch of threads serve a whole
batch, here and in Redis, and `appendfsync always` flushes once for all of them. A call
that nobody else is waiting beside goes out at once, alone: combining delays no call.

The scheme is Hendler, Incze, Shavit and Tzafrir's (SPAA 2010), with the lead handed on
after each batch, so that no thread serves others for long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from redis import Redis
from redis.client import Pipeline

from core import errors, keys
from core.steps import Command

_MARK_LIFE_SECONDS = 60
_SCRIPT_CALLS = frozenset({"EVALSHA", "EVAL"})
_FIRST_SCRIPT_KEY = 3


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many must confirm that they have a write too, and how long that is waited for."""

    count: int
    timeout_ms: int


class _Call:
    """One command on its way. `woken` is held until its reply is there, or its turn to lead."""

    __slots__ = ("command", "leads", "reply", "woken")

    def __init__(self, command: Command) -> None:
        self.command = command
        self.reply: Any = None
        self.leads = False
        self.woken = Lock()
        self.woken.acquire()


class CallCombiner:
    """Calls one Redis on behalf of all threads of a process."""

    def __init__(self, redis: Redis, replicas: Replicas | None = None) -> None:
        self._redis = redis
        self._replicas = replicas
        self._mutex = Lock()
        self._waiting: list[_Call] = []
        self._has_leader = False

    def execute_command(self, *command: str | float) -> Any:
        """The command's reply. Raises what redis-py raises, for this command alone, and
        Unconfirmed when too few replicas have what the server had by then.

        When the connection breaks, all commands of the batch fail: each may have been
        carried out or not, as with any call whose reply is lost.
        """
        call = _Call(command)
        with self._mutex:
            must_wait = self._has_leader
            self._has_leader = True
            if must_wait:
                self._waiting.append(call)
        if must_wait:
            call.woken.acquire()
        if not must_wait or call.leads:
            self._lead(call)
        if isinstance(call.reply, BaseException):
            raise call.reply
        return call.reply

    def execute_commands(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to all these commands, sent as one pipeline, or each one's error in its
        place. Raises nothing of Redis.
        """
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
                if self._replicas:
                    return _confirmed(pipeline, self._replicas, key_of(commands[0]))
                return pipeline.execute(raise_on_error=False)
        except Exception as error:  # noqa: BLE001 - each caller is told
            return [error] * len(commands)

    def carrier_of(self, command: Command) -> "CallCombiner":  # noqa: ARG002 - one for all
        """Whatever it is, this Redis has it."""
        return self

    def _lead(self, own: _Call) -> None:
        """Send all that wait now, hand the lead on, and tell the others their replies."""
        with self._mutex:
            batch = [own, *self._waiting]
            self._waiting.clear()
        try:
            self._send(batch)
        finally:
            self._hand_over()
            for call in batch[1:]:
                call.woken.release()

    def _send(self, batch: list[_Call]) -> None:
        replies: list[Any] = []
        try:
            replies = self.execute_commands([call.command for call in batch])
        except BaseException as error:
            replies = [error] * len(batch)
            raise
        finally:
            for call, reply in zip(batch, replies, strict=True):
                call.reply = reply

    def _hand_over(self) -> None:
        with self._mutex:
            if not self._waiting:
                self._has_leader = False
                return
            following = self._waiting.pop(0)
        following.leads = True
        following.woken.release()


def key_of(command: Command) -> str:
    """The first key of a command or of a script's call."""
    return str(command[_FIRST_SCRIPT_KEY if command[0] in _SCRIPT_CALLS else 1])


def _confirmed(pipeline: Pipeline, replicas: Replicas, key: str) -> list[Any]:
    """Send the pipeline; its replies, or Unconfirmed in their place.

    WAIT looks back from its own connection's last write, and a replay has found a bid that
    another connection wrote. So a write of no meaning goes before it.
    """
    pipeline.set(keys.replication_mark(key), "", ex=_MARK_LIFE_SECONDS)
    pipeline.execute_command("WAIT", replicas.count, replicas.timeout_ms)  # type: ignore[no-untyped-call]
    *replies, mark, reached = pipeline.execute(raise_on_error=False)
    if mark is True and isinstance(reached, int) and reached >= replicas.count:
        return replies
    return [reply if isinstance(reply, Exception) else errors.Unconfirmed() for reply in replies]
