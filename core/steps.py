"""Work in steps: a generator yields what it waits for, and whoever runs it chooses how to wait.

The same bid is so placed by a thread that waits for its own reply, and by an event loop
that sends the commands of many bids in one pipeline and waits for none of them.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")

Command = tuple[str | float, ...]


class Caller(Protocol):
    """What carries a call to Redis: a client, or a CallCombiner over one."""

    def execute_command(self, *command: str | float) -> Any:
        """The command's reply."""


class Carrier(Protocol):
    """What takes pipelines to one server, one at a time."""

    def execute_commands(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, or each one's error in its place. Raises nothing of Redis."""


class Router(Caller, Protocol):
    """A caller who also tells which server a command goes to."""

    def carrier_of(self, command: Command) -> Carrier:
        """What takes the command there. Waits for nothing."""


class Query(Command):
    """A command that changes nothing: equal ones that are asked at once may share one reply."""

    __slots__ = ()


SlowStep = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Aside:
    """Something slow that is worth doing, and that nothing waits for where it can be left to
    others: nothing is sent back in, and what it raises is of no concern to the steps.
    """

    slow_step: SlowStep


# A command for Redis, whose reply is sent back in; or a function that may take long, as
# PostgreSQL and the broker do, whose value is. What either raises is thrown in. Such a
# function is safe to repeat, and who asks for what is under way already may share it.
Step = Command | SlowStep | Aside
Steps = Generator[Step, Any, T]


def run(steps: Steps[T], calls: Caller) -> T:
    """Take all steps in this thread. Returns and raises what they do."""
    try:
        step = next(steps)
        while True:
            try:
                reply = _take(step, calls)
            except Exception as error:  # noqa: BLE001 - the steps know what to make of it
                step = steps.throw(error)
            else:
                step = steps.send(reply)
    except StopIteration as stop:
        value: T = stop.value
        return value


def _take(step: Step, calls: Caller) -> Any:
    if isinstance(step, Aside):
        return take_aside(step)
    return step() if callable(step) else calls.execute_command(*step)


def take_aside(aside: Aside) -> None:
    """Do it in this thread. What goes wrong is for the log alone."""
    try:
        aside.slow_step()
    except Exception:
        log.exception("aside_failed")
